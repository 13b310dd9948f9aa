-- Abandon the attempts that this scheduler does not know (their tasks are not in :known), without
-- counting them: nobody will report their results to it. Unfinished jobs become PENDING and are due
-- now, or SUPERSEDED if their position has a newer epoch.
WITH released AS (
    UPDATE portfolio_valuation_jobs j
    SET status = (CASE WHEN p.epoch = j.epoch THEN 'PENDING' ELSE 'SUPERSEDED' END)
                     ::valuation_job_status,
        task_id = 0,
        attempt_count = j.attempt_count - 1,
        finished_at = CASE WHEN p.epoch > j.epoch THEN now() END
    FROM position_state p
    WHERE j.position_id = p.position_id AND NOT isempty(p.pending) AND j.status = 'PROCESSING'
      AND j.task_id <> ALL (:known::bigint[])
    RETURNING j.job_id, j.status
)
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id, clock_timestamp() FROM released WHERE status = 'PENDING'
ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
