-- One dead letter per job that this task has just marked FAILED.
INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
SELECT j.job_id, j.position_id, j.attempt_count, f.failure_reason, f.traceback
FROM finished_jobs f
JOIN portfolio_valuation_jobs j
  ON j.job_id = f.job_id AND j.task_id = :task AND j.status = 'FAILED'
WHERE f.status = 'FAILED'
