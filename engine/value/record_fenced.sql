-- Count the jobs that this attempt was not allowed to finish, by cause: abandoned (the job belongs
-- to another attempt by now) or superseded (its position has a newer epoch).
INSERT INTO fenced_attempts (task_id, jobs_abandoned, jobs_superseded)
SELECT :task, count(*) FILTER (WHERE task_id <> :task OR status <> 'PROCESSING'),
       count(*) FILTER (WHERE task_id = :task AND status = 'PROCESSING')
FROM portfolio_valuation_jobs
WHERE job_id = ANY (:jobs::bigint[])
