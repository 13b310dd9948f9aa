-- The newest jobs that failed for good, the newest first. A filter that is NULL does not apply.
--
-- Each has a dead letter, so this does not look at the other jobs.
SELECT d.job_id
FROM (SELECT DISTINCT job_id FROM dead_letters WHERE job_id < :before) d
JOIN portfolio_valuation_jobs j USING (job_id)
WHERE j.status = 'FAILED'
  AND (:positions::bigint[] IS NULL OR j.position_id = ANY (:positions))
ORDER BY d.job_id DESC
LIMIT :limit
