-- Rows per second while the engine was busy, of the newest finished jobs: of those with about :rows
-- rows per span (a quarter to four times as many) if there are such, else of all.
--
-- Many rows of one position cost less than as many rows of many positions. Overlapping jobs count
-- once, and idle time does not count. A job that took longer than :max_seconds, the deadline of a
-- task, was waiting for something, so it says nothing about speed.
WITH recent AS (
    SELECT created_at, finished_at, rows_written, span_count,
           rows_written BETWEEN :rows::double precision / 4 * span_count
                            AND :rows::double precision * 4 * span_count AS is_like
    FROM portfolio_valuation_jobs
    WHERE status = 'COMPLETE' AND attempt_count = 1 AND rows_written > 0
      AND finished_at - created_at < make_interval(secs => :max_seconds::double precision)
    ORDER BY job_id DESC
    LIMIT :max_jobs
), kinds AS (
    SELECT true AS only_like, range_agg(tstzrange(created_at, finished_at)) AS busy,
           count(*) AS jobs, sum(span_count) AS spans, sum(rows_written) AS rows_written
    FROM recent
    WHERE is_like
    UNION ALL
    SELECT false, range_agg(tstzrange(created_at, finished_at)), count(*), sum(span_count),
           sum(rows_written)
    FROM recent
), speeds AS (
    SELECT only_like, jobs, spans, rows_written,
           (SELECT sum(extract(epoch FROM upper(r) - lower(r)))::double precision
            FROM unnest(busy) AS r) AS seconds
    FROM kinds
)
SELECT only_like, jobs, rows_written::bigint AS rows_written,
       rows_written::double precision / spans AS rows_per_span,
       rows_written / seconds AS rows_per_second
FROM speeds
WHERE seconds > 0
ORDER BY only_like DESC
LIMIT 1
