-- Defer jobs to be retried for which the previous scheduler ended before it had written a time.
INSERT INTO deferred_jobs (job_id, not_before)
SELECT j.job_id, clock_timestamp()
FROM position_state p
JOIN portfolio_valuation_jobs j ON j.position_id = p.position_id AND j.epoch = p.epoch
WHERE NOT isempty(p.pending) AND j.status = 'PENDING'
ON CONFLICT (job_id) DO NOTHING
