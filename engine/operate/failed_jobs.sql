-- The jobs that failed for good, with dates that are still due under the current epoch.
SELECT DISTINCT j.job_id
FROM dead_letters d
JOIN portfolio_valuation_jobs j USING (job_id)
JOIN position_state p USING (position_id)
WHERE j.status = 'FAILED' AND j.epoch = p.epoch
ORDER BY j.job_id
