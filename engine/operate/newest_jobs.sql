-- The newest jobs from :first_job to before :before that fit the filters, the newest first. A
-- filter that is NULL does not apply.
--
-- It looks at each of these jobs until it has found :limit, so the caller bounds their number.
SELECT j.job_id
FROM portfolio_valuation_jobs j
WHERE j.job_id < :before AND j.job_id >= :first_job
  AND (:status::text IS NULL OR j.status = :status::text::valuation_job_status)
  AND (:positions::bigint[] IS NULL OR j.position_id = ANY (:positions))
ORDER BY j.job_id DESC
LIMIT :limit
