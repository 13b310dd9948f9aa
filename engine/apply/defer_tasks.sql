-- Defer the jobs that finished attempts left PENDING.
--
-- The delay is random, between half and one and a half times its mean, which doubles with each
-- attempt. A job that waits for data is not retried: when the data arrive, they invalidate the
-- position.
INSERT INTO deferred_jobs (job_id, not_before)
SELECT j.job_id,
       clock_timestamp() + make_interval(secs => (0.5 + random())
           * :retry_seconds::double precision * 2 ^ least(j.attempt_count - 1, 10))
FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[])
    AS t (task_id, first_job, last_job)
JOIN portfolio_valuation_jobs j
  ON j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
WHERE j.status = 'PENDING'
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
