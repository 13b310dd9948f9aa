-- The jobs that still belong to this attempt and have their position's current epoch.
--
-- CASE hides the predicate from the planner. It has no statistics of a new task's id, would
-- estimate one row, and would pick nested loops over whole tables for thousands of jobs.
-- Positions from :first_position to :last_position are those of the task, and perhaps others: where
-- the task is dense, reading the whole range once is cheaper than one lookup per position.
SELECT j.job_id, j.position_id, j.epoch, j.first_date, j.last_date, j.attempt_count,
       p.calendar_no, i.instrument_no, lc.currency_no AS local_no,
       p.base_currency_no AS base_no
FROM portfolio_valuation_jobs j
JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
JOIN instruments i USING (security_id)
JOIN currencies lc ON lc.currency = i.currency
WHERE j.job_id BETWEEN :first_job AND :last_job
  AND CASE WHEN j.task_id = :task AND j.status = 'PROCESSING' THEN true END
  AND p.position_id BETWEEN :first_position AND :last_position
ORDER BY j.position_id, j.first_date
