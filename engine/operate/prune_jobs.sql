-- Look at the next :most jobs after job :after, and delete those that nothing needs: with their
-- parts, their dead letters and the holes that they found. Unless :deletes, only count them. There
-- is always one row; last_job is NULL when no job is left. would_go: jobs that are only counted.
--
-- A job can go if nothing is left to do for it and all that it did was known at the floor: a
-- snapshot without a job counts as known at all times, and what it published is in a publication of
-- the position. Jobs that wait for data or failed stay. So do those of whose holes a date is hidden
-- at the floor or later: their reason is told.
WITH page AS MATERIALIZED (
    SELECT j.job_id, j.is_open, j.status, j.moment_id, j.published_moment,
           COALESCE(j.finished_at, j.created_at) AS ended_at,
           pg_column_size(j.positions) + pg_column_size(j.epochs) + pg_column_size(j.first_dates)
               + pg_column_size(j.last_dates) + pg_column_size(j.trigger_ids) + 160 AS bytes
    FROM portfolio_valuation_jobs j
    WHERE j.job_id > :after
    ORDER BY j.job_id
    LIMIT :most
), finished AS MATERIALIZED (
    SELECT p.job_id, p.bytes
    FROM page p
    LEFT JOIN moments m ON m.moment_id = p.moment_id
    LEFT JOIN moments u ON u.moment_id = p.published_moment
    WHERE NOT p.is_open AND p.status IN ('COMPLETE', 'SKIPPED_NO_POSITION', 'SUPERSEDED')
      AND p.ended_at <= :floor::timestamptz
      AND (p.moment_id IS NULL OR m.at <= :floor::timestamptz)
      AND (p.published_moment IS NULL OR u.at <= :floor::timestamptz)
      AND NOT EXISTS (SELECT FROM deferred_jobs d WHERE d.job_id = p.job_id)
      AND NOT EXISTS (SELECT FROM job_parts k JOIN moments n USING (moment_id)
                      WHERE k.job_id = p.job_id AND n.at > :floor::timestamptz)
), told AS (
    SELECT h.job_id
    FROM finished f
    JOIN position_holes h USING (job_id)
    JOIN position_state p USING (position_id)
    WHERE (p.holes + p.published_hidden + p.withdrawn)
              && daterange(h.first_date, h.last_date, '[]')
       OR EXISTS (
           SELECT
           FROM (SELECT w.hidden, m.at, lead(m.at) OVER (ORDER BY m.at) AS until
                 FROM publications w JOIN moments m USING (moment_id)
                 WHERE w.position_id = h.position_id) w
           WHERE COALESCE(w.until > :floor::timestamptz, true)
             AND w.hidden && daterange(h.first_date, h.last_date, '[]'))
), gone AS MATERIALIZED (
    SELECT job_id, bytes FROM finished WHERE job_id NOT IN (SELECT job_id FROM told)
), letters AS (
    DELETE FROM dead_letters d USING gone g WHERE :deletes AND d.job_id = g.job_id
), parts AS (
    DELETE FROM job_parts k USING gone g WHERE :deletes AND k.job_id = g.job_id
), holes AS (
    DELETE FROM position_holes h USING gone g WHERE :deletes AND h.job_id = g.job_id
), deleted AS (
    DELETE FROM portfolio_valuation_jobs j USING gone g WHERE :deletes AND j.job_id = g.job_id
)
SELECT (SELECT max(job_id) FROM page) AS last_job,
       (SELECT array_agg(job_id) FROM gone WHERE NOT :deletes) AS would_go,
       (SELECT count(*) FROM gone) AS jobs,
       (SELECT COALESCE(sum(bytes), 0)::bigint FROM gone) AS job_bytes,
       (SELECT count(*) FROM position_holes h JOIN gone USING (job_id)) AS holes,
       (SELECT COALESCE(sum(pg_column_size(h.*)), 0)::bigint
        FROM position_holes h JOIN gone USING (job_id)) AS hole_bytes,
       (SELECT count(*) FROM dead_letters d JOIN gone USING (job_id)) AS letters,
       (SELECT COALESCE(sum(pg_column_size(d.*)), 0)::bigint
        FROM dead_letters d JOIN gone USING (job_id)) AS letter_bytes
