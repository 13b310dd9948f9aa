-- The spans of the jobs that still belong to this attempt. A span is one position of a job with a
-- range of its dates. span_count: how many the job has in all.
SELECT j.job_id, u.position_id, u.epoch, u.first_date, u.last_date, j.attempt_count,
       j.span_count
FROM portfolio_valuation_jobs j
CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates)
    AS u (position_id, epoch, first_date, last_date)
WHERE j.task_id = :task AND j.status = 'PROCESSING'
  AND u.position_id BETWEEN :first_position AND :last_position
ORDER BY u.position_id, u.first_date
