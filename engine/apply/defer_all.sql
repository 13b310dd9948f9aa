-- Defer jobs to be retried for which the previous scheduler ended before it had written a time.
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id, clock_timestamp()
FROM portfolio_valuation_jobs
WHERE is_open AND status = 'PENDING'
ON CONFLICT (job_id) DO NOTHING
