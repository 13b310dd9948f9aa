-- What runs now: connected actors (one database session each), jobs and tasks in flight, and the
-- rows per second of the jobs that finished within the last :seconds.
--
-- Only the newest :max_jobs jobs are read: status has no index, and the console asks every second.
WITH newest AS (
    SELECT status, task_id, rows_written, finished_at
    FROM portfolio_valuation_jobs
    ORDER BY job_id DESC
    LIMIT :max_jobs
)
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database()
          AND application_name LIKE 'revalue valuer %') AS actors,
       count(*) FILTER (WHERE status = 'PROCESSING') AS jobs_in_flight,
       count(DISTINCT task_id) FILTER (WHERE status = 'PROCESSING') AS tasks_in_flight,
       COALESCE(sum(rows_written) FILTER (
           WHERE status = 'COMPLETE'
             AND finished_at > clock_timestamp() - make_interval(secs => :seconds::double precision)
       ), 0)::double precision / :seconds::double precision AS rows_per_second_now
FROM newest
