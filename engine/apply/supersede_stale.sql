-- Mark the unfinished jobs of older epochs SUPERSEDED, after a scheduler died before it could do
-- so. Reads every job.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = now()
FROM position_state p
WHERE p.position_id = j.position_id AND p.epoch > j.epoch
  AND j.status IN ('PROCESSING', 'PENDING', 'WAITING_FOR_DATA')
