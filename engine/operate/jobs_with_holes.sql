-- The newest jobs of some positions that wait for data, the newest first: each has left holes.
SELECT DISTINCT j.job_id
FROM position_holes h
JOIN portfolio_valuation_jobs j USING (job_id)
WHERE h.position_id = ANY (:positions::bigint[]) AND j.job_id < :before
  AND j.status = 'WAITING_FOR_DATA'
ORDER BY j.job_id DESC
LIMIT :limit
