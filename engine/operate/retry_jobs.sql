-- Manual retry: requeue failed and waiting jobs now, and reset their attempt count. Only jobs of
-- the current epoch of their position; the others are superseded.
WITH freed AS (
    UPDATE portfolio_valuation_jobs j
    SET status = 'PENDING', attempt_count = 0, deaths = 0, task_id = 0, finished_at = NULL
    FROM position_state p
    WHERE j.job_id = ANY (:jobs::bigint[])
      AND p.position_id = j.position_id AND p.epoch = j.epoch
      AND j.status IN ('FAILED', 'WAITING_FOR_DATA', 'PENDING')
    RETURNING j.job_id
), requeued AS (
    UPDATE dead_letters d SET requeued_at = now()
    FROM freed
    WHERE d.job_id = freed.job_id AND d.requeued_at IS NULL
), due AS (
    INSERT INTO deferred_jobs (job_id, not_before)
    SELECT job_id, clock_timestamp() FROM freed
    ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
)
SELECT job_id FROM freed ORDER BY job_id
