-- Rows a second while the engine was busy, of the jobs done last: overlapping jobs count once, idle time does not count.
-- A job that took longer than any task may was waiting for something, so it says nothing about speed.
WITH recent AS (
    SELECT created_at, finished_at, rows_written
    FROM portfolio_valuation_jobs
    WHERE status = 'COMPLETE' AND attempt_count = 1 AND rows_written > 0
      AND finished_at - created_at < make_interval(secs => :most_seconds::double precision)
    ORDER BY job_id DESC
    LIMIT :most_jobs
), busy AS (
    SELECT sum(extract(epoch FROM upper(r) - lower(r)))::double precision AS seconds
    FROM (SELECT unnest(range_agg(tstzrange(created_at, finished_at))) AS r FROM recent) spans
)
SELECT (SELECT sum(rows_written) FROM recent) / NULLIF((SELECT seconds FROM busy), 0)
