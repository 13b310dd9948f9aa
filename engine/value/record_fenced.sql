INSERT INTO fenced_attempts (task_id, jobs_abandoned, jobs_superseded)
SELECT :task, count(*) FILTER (WHERE task_id <> :task OR status <> 'PROCESSING'),
       count(*) FILTER (WHERE task_id = :task AND status = 'PROCESSING')
FROM portfolio_valuation_jobs
WHERE job_id = ANY (:jobs::bigint[])
