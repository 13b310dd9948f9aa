-- Defer the jobs that finished attempts left PENDING or WAITING_FOR_DATA.
--
-- The delay is random, between half and one and a half times its mean. The mean of a retry doubles
-- with each attempt.
INSERT INTO deferred_jobs (job_id, not_before)
SELECT j.job_id,
       clock_timestamp() + make_interval(secs => (0.5 + random()) * CASE j.status
           WHEN 'PENDING'
           THEN :retry_seconds::double precision * 2 ^ least(j.attempt_count - 1, 10)
           ELSE :recheck_seconds::double precision END)
FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[])
    AS t (task_id, first_job, last_job)
JOIN portfolio_valuation_jobs j
  ON j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
WHERE j.status IN ('PENDING', 'WAITING_FOR_DATA')
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
