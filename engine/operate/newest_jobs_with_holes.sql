-- The newest jobs that wait for data among the :rows newest records of holes, the newest first, and
-- the last of the jobs that were looked at (since; NULL: there are no more). There is always a row.
WITH records AS MATERIALIZED (
    SELECT job_id, position_id FROM position_holes WHERE job_id < :before
    ORDER BY job_id DESC
    LIMIT :rows
), looked_at AS (
    SELECT CASE WHEN count(*) = :rows THEN min(job_id) END AS since FROM records
)
SELECT l.since, found.job_id
FROM looked_at l
LEFT JOIN LATERAL (
    SELECT DISTINCT j.job_id
    FROM records r
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE j.status = 'WAITING_FOR_DATA'
      AND (:positions::bigint[] IS NULL OR r.position_id = ANY (:positions))
    ORDER BY j.job_id DESC
    LIMIT :limit
) found ON true
ORDER BY found.job_id DESC
