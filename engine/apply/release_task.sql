-- Abandon an attempt without counting it: unfinished jobs become PENDING, are due after
-- :pause_seconds, and lose their task id. Returns the number of jobs that failed.
--
-- :max_deaths is NULL unless the attempt's process died. A job whose process died that often was
-- alone in its last tasks, with a single span (retry_due), so it caused the deaths: it becomes
-- FAILED, with a dead letter.
WITH abandoned AS (
    SELECT j.job_id, j.deaths + (:max_deaths::integer IS NOT NULL)::integer AS deaths,
           p.epoch = j.epochs[1] AND j.span_count = 1
               AND j.deaths + 1 >= :max_deaths::integer IS TRUE AS fails,
           format('UNEXPECTED_ERROR %s %s', p.security_id, j.first_date) AS failure
    FROM portfolio_valuation_jobs j
    JOIN position_state p ON p.position_id = j.positions[1]
    WHERE j.task_id = :task AND j.status = 'PROCESSING'
), released AS (
    UPDATE portfolio_valuation_jobs j
    SET status = (CASE WHEN a.fails THEN 'FAILED' ELSE 'PENDING' END)::valuation_job_status,
        task_id = 0,
        attempt_count = j.attempt_count - CASE WHEN a.fails THEN 0 ELSE 1 END,
        deaths = a.deaths,
        failure_reason = CASE WHEN a.fails THEN a.failure ELSE :reason END,
        finished_at = CASE WHEN a.fails THEN now() END,
        is_open = NOT a.fails
    FROM abandoned a
    WHERE j.job_id = a.job_id AND j.task_id = :task AND j.status = 'PROCESSING'
    RETURNING j.job_id, j.positions[1] AS position_id, j.status, j.attempt_count, j.deaths,
              j.failure_reason
), letters AS (
    INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
    SELECT job_id, position_id, attempt_count, failure_reason,
           format(E'The process that valued it died %s times, the last times with no other job '
                  'in its task. The last time:\n%s', deaths, :reason::text)
    FROM released
    WHERE status = 'FAILED'
), requeued AS (
    INSERT INTO deferred_jobs (job_id, not_before)
    SELECT job_id, clock_timestamp() + make_interval(secs => :pause_seconds::double precision)
    FROM released
    WHERE status = 'PENDING'
    ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
)
SELECT count(*) FROM released WHERE status = 'FAILED'
