-- Dead letters of jobs that are still owed, actors that are connected (one session each), what is at work now, and the rows of
-- the jobs that finished within the last seconds. The last two of the newest jobs only: status has no index, and this is asked
-- every second.
WITH newest AS (
    SELECT status, task_id, rows_written, finished_at FROM portfolio_valuation_jobs ORDER BY job_id DESC LIMIT :most_jobs
)
SELECT (SELECT count(DISTINCT d.job_id) FROM dead_letters d
        JOIN portfolio_valuation_jobs j USING (job_id)
        JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
        WHERE j.status = 'FAILED' AND d.requeued_at IS NULL) AS dead_letters,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'revalue valuer %') AS actors,
       count(*) FILTER (WHERE status = 'PROCESSING') AS jobs_in_flight,
       count(DISTINCT task_id) FILTER (WHERE status = 'PROCESSING') AS tasks_in_flight,
       COALESCE(sum(rows_written) FILTER (
           WHERE status = 'COMPLETE' AND finished_at > clock_timestamp() - make_interval(secs => :seconds::double precision)
       ), 0)::double precision / :seconds::double precision AS rows_per_second_now
FROM newest
