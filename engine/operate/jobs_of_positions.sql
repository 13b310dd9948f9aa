-- The newest jobs of some positions, the newest first, and how far back they are all of them
-- (since; NULL: to the first job).
--
-- Of each position it takes the :each newest. Where it got that many there may be more behind the
-- last, so the list is complete as far as the newest of these. There is always a row, also without
-- a job.
WITH newest AS MATERIALIZED (
    SELECT p.position_id, j.job_id
    FROM unnest(:positions::bigint[]) AS p (position_id)
    CROSS JOIN LATERAL (
        SELECT w.job_id
        FROM portfolio_valuation_jobs w
        WHERE w.position_id = p.position_id AND w.job_id < :before
        ORDER BY w.job_id DESC
        LIMIT :each
    ) j
), complete AS (
    SELECT max(last_job) AS since
    FROM (SELECT min(job_id) AS last_job FROM newest GROUP BY position_id
          HAVING count(*) = :each) full_positions
)
SELECT c.since, found.job_id
FROM complete c
LEFT JOIN LATERAL (
    SELECT n.job_id
    FROM newest n
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE (c.since IS NULL OR n.job_id >= c.since)
      AND (:status::text IS NULL OR j.status = :status::text::valuation_job_status)
    ORDER BY n.job_id DESC
    LIMIT :limit
) found ON true
ORDER BY found.job_id DESC
