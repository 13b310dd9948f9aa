-- Abandon the attempts that this scheduler does not know (their tasks are not in :known), without
-- counting them: nobody will report their results to it. Unfinished jobs become PENDING and are due
-- now.
WITH released AS (
    UPDATE portfolio_valuation_jobs
    SET status = 'PENDING', task_id = 0, attempt_count = attempt_count - 1
    WHERE is_open AND status = 'PROCESSING' AND task_id <> ALL (:known::bigint[])
    RETURNING job_id
)
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id, clock_timestamp() FROM released
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
