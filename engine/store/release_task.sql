-- The attempt is given up without being charged: the jobs it has not finished are free, under no task's fence. A job whose process
-- died :most_deaths times was alone in its last tasks (retry_due): it is what ends them, and fails. Returns how many did.
WITH released AS (
    UPDATE portfolio_valuation_jobs j
    SET status = (CASE WHEN j.deaths + :died >= :most_deaths THEN 'FAILED' ELSE 'PENDING' END)::valuation_job_status,
        task_id = 0,
        attempt_count = j.attempt_count - 1,
        deaths = j.deaths + :died,
        failure_reason = CASE WHEN j.deaths + :died >= :most_deaths
                              THEN format('UNEXPECTED_ERROR %s %s', p.security_id, COALESCE(j.valued_through + 1, j.first_date))
                              ELSE :reason END,
        finished_at = CASE WHEN j.deaths + :died >= :most_deaths THEN now() END
    FROM position_state p
    WHERE j.job_id BETWEEN :first_job AND :last_job AND j.task_id = :task AND j.status = 'PROCESSING'
      AND p.position_id = j.position_id
    RETURNING j.job_id, j.status, j.attempt_count, j.deaths, j.failure_reason
), letters AS (
    INSERT INTO dead_letters (job_id, attempt_count, failure_reason, traceback)
    SELECT job_id, attempt_count, failure_reason,
           format(E'The process that valued it died %s times, the last times with no other job in its task. The last time:\n%s',
                  deaths, :reason::text)
    FROM released
    WHERE status = 'FAILED'
), free AS (
    INSERT INTO deferred_jobs (job_id, not_before)
    SELECT job_id, clock_timestamp() FROM released WHERE status = 'PENDING'
    ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
)
SELECT count(*) FROM released WHERE status = 'FAILED'
