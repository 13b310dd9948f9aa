-- What runs now: connected actors (one database session each), tasks, jobs and their spans in
-- flight, and the rows per second of the jobs that finished within the last :seconds.
--
-- Of the finished jobs only the newest :max_jobs are read, because the console asks every second.
WITH in_flight AS (
    SELECT task_id, span_count
    FROM portfolio_valuation_jobs
    WHERE is_open AND status = 'PROCESSING'
), newest AS (
    SELECT status, rows_written, finished_at
    FROM portfolio_valuation_jobs
    ORDER BY job_id DESC
    LIMIT :max_jobs
)
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database()
          AND application_name LIKE 'revalue valuer %') AS actors,
       (SELECT count(*) FROM in_flight) AS jobs_in_flight,
       (SELECT COALESCE(sum(span_count), 0) FROM in_flight) AS spans_in_flight,
       (SELECT count(DISTINCT task_id) FROM in_flight) AS tasks_in_flight,
       COALESCE(sum(rows_written) FILTER (
           WHERE status = 'COMPLETE'
             AND finished_at > clock_timestamp() - make_interval(secs => :seconds::double precision)
       ), 0)::double precision / :seconds::double precision AS rows_per_second_now
FROM newest
