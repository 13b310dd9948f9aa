-- What is at work now, and the rows of the jobs that finished within the last seconds. Of the newest jobs only: status has no
-- index, and this is asked every second.
WITH newest AS (
    SELECT status, task_id, rows_written, finished_at FROM portfolio_valuation_jobs ORDER BY job_id DESC LIMIT :most_jobs
)
SELECT count(*) FILTER (WHERE status = 'PROCESSING') AS jobs_in_flight,
       count(DISTINCT task_id) FILTER (WHERE status = 'PROCESSING') AS tasks_in_flight,
       COALESCE(sum(rows_written) FILTER (
           WHERE status = 'COMPLETE' AND finished_at > clock_timestamp() - make_interval(secs => :seconds::double precision)
       ), 0)::double precision / :seconds::double precision AS rows_per_second_now
FROM newest
