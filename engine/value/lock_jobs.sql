-- Lock the jobs that still belong to this attempt (the fence). Returns their ids.
WITH own AS (
    SELECT job_id
    FROM portfolio_valuation_jobs
    WHERE task_id = :task AND status = 'PROCESSING'
    ORDER BY job_id
    FOR NO KEY UPDATE
)
SELECT COALESCE(array_agg(job_id), '{}') FROM own
