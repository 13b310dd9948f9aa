-- The attempt is given up without being charged: the jobs it has not finished are free, under no task's fence.
WITH released AS (
    UPDATE portfolio_valuation_jobs
    SET status = 'PENDING', task_id = 0, attempt_count = attempt_count - 1, failure_reason = :reason
    WHERE job_id BETWEEN :first_job AND :last_job AND task_id = :task AND status = 'PROCESSING'
    RETURNING job_id
)
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id, clock_timestamp() FROM released
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
