-- Those of :jobs that do not exist.
SELECT DISTINCT asked.job_id
FROM unnest(:jobs::bigint[]) AS asked (job_id)
WHERE NOT EXISTS (SELECT FROM portfolio_valuation_jobs j WHERE j.job_id = asked.job_id)
ORDER BY asked.job_id
