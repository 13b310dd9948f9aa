-- The jobs that failed for good: those of an older epoch are superseded.
SELECT job_id
FROM portfolio_valuation_jobs
WHERE status = 'FAILED'
ORDER BY job_id
