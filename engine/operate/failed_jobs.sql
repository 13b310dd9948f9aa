-- The jobs that failed for good: those of an older epoch are superseded.
SELECT DISTINCT j.job_id
FROM dead_letters d
JOIN portfolio_valuation_jobs j USING (job_id)
WHERE j.status = 'FAILED'
ORDER BY j.job_id
