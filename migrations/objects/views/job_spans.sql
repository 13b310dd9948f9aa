-- The spans of each job: its positions, each with its epoch, its dates (first_date to last_date,
-- both included), and the correction that made them due (NULL: none did). number: the place of a
-- span in its job, from 1.
--
-- A position can have several spans in a job. The other columns are those of the job.
CREATE OR REPLACE VIEW job_spans AS
SELECT j.job_id, u.position_id, u.epoch, u.first_date, u.last_date, u.trigger_id, u.number,
       j.status, j.lane, j.valued_through, j.attempt_count, j.deaths, j.failure_reason, j.term,
       j.task_id, j.is_open, j.position_range, j.span_count,
       j.created_at, j.finished_at, j.moment_id, j.published_moment, j.stale_moment,
       j.invalidated_moment
FROM portfolio_valuation_jobs j
CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates, j.trigger_ids)
    WITH ORDINALITY AS u (position_id, epoch, first_date, last_date, trigger_id, number);
