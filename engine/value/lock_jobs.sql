-- Lock the jobs that still belong to this attempt (the fence). Returns their ids, and how many
-- spans each has.
SELECT job_id, span_count
FROM portfolio_valuation_jobs
WHERE task_id = :task AND status = 'PROCESSING'
ORDER BY job_id
FOR NO KEY UPDATE
