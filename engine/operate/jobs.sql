-- The jobs with the given ids, the newest first.
SELECT j.job_id, p.portfolio_id, p.security_id, j.status::text, j.lane::text, j.epoch,
       j.first_date, j.last_date, j.valued_through, j.attempt_count, j.rows_written,
       j.failure_reason, j.trigger_id, j.term, j.task_id, j.created_at, j.finished_at
FROM portfolio_valuation_jobs j
JOIN position_state p USING (position_id)
WHERE j.job_id = ANY (:jobs::bigint[])
ORDER BY j.job_id DESC
