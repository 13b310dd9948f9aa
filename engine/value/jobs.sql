-- The jobs of one attempt that are still its own, under their position's current epoch; a job that got part of the way goes
-- on behind it. A CASE, here and in the statements beside, since the planner knows nothing of a new task's id: it would expect
-- one job, and loop over whole tables for each of thousands. The positions from :first_position to :last_position are those of
-- the task and perhaps others: where the task is dense, reading all of them once is cheaper than looking each one up.
SELECT j.job_id, j.position_id, j.epoch, COALESCE(j.valued_through + 1, j.first_date) AS first_date, j.last_date,
       j.attempt_count, p.history_epoch, p.calendar_no, i.instrument_no, lc.currency_no AS local_no,
       p.base_currency_no AS base_no
FROM portfolio_valuation_jobs j
JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
JOIN instruments i USING (security_id)
JOIN currencies lc ON lc.currency = i.currency
WHERE j.job_id BETWEEN :first_job AND :last_job
  AND CASE WHEN j.task_id = :task AND j.status = 'PROCESSING' THEN true END
  AND p.position_id BETWEEN :first_position AND :last_position
ORDER BY j.position_id, j.first_date
