-- Mark the unfinished jobs of older epochs SUPERSEDED, after a scheduler died before it could do
-- so (see supersede_fenced.sql). Reads every job.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = COALESCE(j.finished_at, now())
FROM position_state p
WHERE p.position_id = j.position_id AND p.epoch > j.epoch
  AND (j.status IN ('PROCESSING', 'PENDING')
       OR (j.status IN ('WAITING_FOR_DATA', 'FAILED') AND j.valued_through IS NOT NULL
           AND NOT EXISTS (SELECT FROM current_holes c WHERE c.job_id = j.job_id)))
