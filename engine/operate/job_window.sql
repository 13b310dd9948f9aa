-- The first of the :jobs jobs that come before :before; no row: there are fewer.
SELECT job_id
FROM portfolio_valuation_jobs
WHERE job_id < :before
ORDER BY job_id DESC
OFFSET :jobs - 1
LIMIT 1
