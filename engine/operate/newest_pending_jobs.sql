-- The newest jobs that wait for an attempt, the newest first. A filter that is NULL does not apply.
--
-- They are in deferred_jobs from when the scheduler has heard of them. What an attempt has left
-- PENDING a moment ago is among the newest jobs.
SELECT job_id
FROM (
    SELECT j.job_id, j.position_id
    FROM deferred_jobs d
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE d.job_id < :before AND j.status = 'PENDING'
    UNION
    SELECT job_id, position_id
    FROM (SELECT job_id, position_id, status FROM portfolio_valuation_jobs
          WHERE job_id < :before
          ORDER BY job_id DESC
          LIMIT :newest) n
    WHERE status = 'PENDING'
) found
WHERE :positions::bigint[] IS NULL OR position_id = ANY (:positions)
ORDER BY job_id DESC
LIMIT :limit
