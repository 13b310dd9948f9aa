-- The job of an attempt that failed; no row when the job no longer belongs to this task.
SELECT j.attempt_count, p.security_id, j.first_date
FROM portfolio_valuation_jobs j
JOIN position_state p USING (position_id)
WHERE j.job_id = :job AND j.task_id = :task AND j.status = 'PROCESSING'
