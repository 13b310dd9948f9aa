-- Divide the due jobs whose process died repeatedly into jobs of fewer spans: the first part keeps
-- the id. Up to :max_jobs of them.
--
-- A job whose process died has a sixteenth of the days after each death but the first, and after
-- :alone_after deaths a single span.
WITH due AS (
    SELECT j.job_id,
           CASE WHEN j.deaths >= :alone_after::integer THEN 1
                ELSE greatest(1, :task_days::bigint / power(16, j.deaths - 1)::bigint) END AS share
    FROM deferred_jobs d
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE d.not_before <= clock_timestamp() AND j.status = 'PENDING' AND j.deaths > 1
      AND j.span_count > 1
    ORDER BY j.job_id
    LIMIT :max_jobs
), spans AS (
    SELECT s.*, (sum(s.last_date - s.first_date + 1) OVER (PARTITION BY s.job_id ORDER BY s.number)
                 - (s.last_date - s.first_date + 1)) / d.share AS part
    FROM due d
    JOIN job_spans s USING (job_id)
), parts AS MATERIALIZED (
    SELECT p.*, CASE WHEN p.part = 0 THEN p.from_job ELSE nextval('valuation_job_ids') END AS job_id
    FROM (
        SELECT job_id AS from_job, part,
               array_agg(position_id ORDER BY number) AS positions,
               array_agg(epoch ORDER BY number) AS epochs,
               array_agg(first_date ORDER BY number) AS first_dates,
               array_agg(last_date ORDER BY number) AS last_dates,
               array_agg(trigger_id ORDER BY number) AS trigger_ids,
               min(first_date) AS first_date, max(last_date) AS last_date
        FROM spans
        GROUP BY job_id, part
    ) p
    ORDER BY p.from_job, p.part
), kept AS (
    UPDATE portfolio_valuation_jobs j
    SET positions = p.positions, epochs = p.epochs, first_dates = p.first_dates,
        last_dates = p.last_dates, trigger_ids = p.trigger_ids, first_date = p.first_date,
        last_date = p.last_date
    FROM parts p
    WHERE j.job_id = p.job_id AND p.part = 0
), created AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
         status, failure_reason, attempt_count, deaths, lane, term, task_id, created_at)
    SELECT p.job_id, p.positions, p.epochs, p.first_dates, p.last_dates, p.trigger_ids,
           p.first_date, p.last_date, j.status, j.failure_reason, j.attempt_count, j.deaths, j.lane,
           j.term, j.task_id, j.created_at
    FROM parts p
    JOIN portfolio_valuation_jobs j ON j.job_id = p.from_job
    WHERE p.part > 0
)
INSERT INTO deferred_jobs (job_id, not_before)
SELECT job_id, clock_timestamp() FROM parts WHERE part > 0
