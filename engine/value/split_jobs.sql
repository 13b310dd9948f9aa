-- Record the outcomes in finished_spans: the complete spans of a job stay one job, and each other
-- span becomes a job of its own. What is not finished keeps the job's id and goes on being
-- processed by this attempt.
--
-- The jobs are locked by this transaction. A job that failed without a value has a dead letter, and
-- nothing of it will be applied.
WITH parts AS (
    SELECT s.from_job, COALESCE(f.job_id, s.from_job) AS job_id,
           COALESCE(min(f.status), 'PROCESSING')::valuation_job_status AS status,
           max(f.valued_through) AS valued_through, sum(f.rows_written)::integer AS rows_written,
           min(f.failure_reason) AS failure_reason,
           array_agg(s.position_id ORDER BY s.number) AS positions,
           array_agg(s.epoch ORDER BY s.number) AS epochs,
           array_agg(s.first_date ORDER BY s.number) AS first_dates,
           array_agg(s.last_date ORDER BY s.number) AS last_dates,
           array_agg(s.trigger_id ORDER BY s.number) AS trigger_ids,
           min(s.first_date) AS first_date, max(s.last_date) AS last_date
    FROM (
        SELECT k.job_id AS from_job, k.position_id, k.epoch, k.first_date, k.last_date,
               k.trigger_id, k.number
        FROM job_spans k
        WHERE k.task_id = :task AND k.status = 'PROCESSING'
          AND k.job_id IN (SELECT from_job FROM finished_spans)
    ) s
    LEFT JOIN finished_spans f USING (from_job, position_id, first_date)
    GROUP BY s.from_job, COALESCE(f.job_id, s.from_job)
), kept AS (
    UPDATE portfolio_valuation_jobs j
    SET positions = p.positions, epochs = p.epochs, first_dates = p.first_dates,
        last_dates = p.last_dates, trigger_ids = p.trigger_ids, first_date = p.first_date,
        last_date = p.last_date, status = p.status, valued_through = p.valued_through,
        rows_written = p.rows_written,
        failure_reason = CASE WHEN p.status = 'PROCESSING' THEN j.failure_reason
                              ELSE p.failure_reason END,
        moment_id = CASE WHEN p.status = 'PROCESSING' THEN j.moment_id
                         ELSE (SELECT current_moment()) END,
        finished_at = CASE WHEN p.status NOT IN ('PENDING', 'PROCESSING') THEN now() END,
        is_open = p.status <> 'FAILED' OR p.valued_through IS NOT NULL
    FROM parts p
    WHERE j.job_id = p.job_id AND p.job_id = p.from_job
), letters AS (
    INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
    SELECT f.job_id, f.position_id, j.attempt_count, f.failure_reason, f.traceback
    FROM finished_spans f
    JOIN portfolio_valuation_jobs j ON j.job_id = f.from_job
    WHERE f.status = 'FAILED'
)
INSERT INTO portfolio_valuation_jobs
    (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
     status, valued_through, rows_written, failure_reason, moment_id, finished_at,
     is_open, attempt_count, deaths, lane, term, task_id, created_at)
SELECT p.job_id, p.positions, p.epochs, p.first_dates, p.last_dates, p.trigger_ids, p.first_date,
       p.last_date, p.status, p.valued_through, p.rows_written, p.failure_reason,
       (SELECT current_moment()), CASE WHEN p.status <> 'PENDING' THEN now() END,
       p.status <> 'FAILED' OR p.valued_through IS NOT NULL, j.attempt_count, j.deaths, j.lane,
       j.term, j.task_id, j.created_at
FROM parts p
JOIN portfolio_valuation_jobs j ON j.job_id = p.from_job
WHERE p.job_id <> p.from_job
