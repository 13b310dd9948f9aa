-- Defer the jobs that finished attempts left PENDING.
--
-- The delay is random, between half and one and a half times its mean, which doubles with each
-- attempt. A job that waits for data is not retried: when the data arrive, they invalidate the
-- position.
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id,
       clock_timestamp() + make_interval(secs => (0.5 + random())
           * :retry_seconds::double precision * 2 ^ least(attempt_count - 1, 10))
FROM portfolio_valuation_jobs
WHERE task_id = ANY (:tasks::bigint[]) AND is_open AND status = 'PENDING'
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
