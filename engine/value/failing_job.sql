-- The job of an attempt that failed, with its first date that is not valued; no row when the job no
-- longer belongs to this task.
SELECT j.attempt_count, p.security_id, COALESCE(j.valued_through + 1, j.first_date) AS first_date
FROM portfolio_valuation_jobs j
JOIN position_state p USING (position_id)
WHERE j.job_id = :job AND j.task_id = :task AND j.status = 'PROCESSING'
