-- Jobs of epochs that are over, left by a scheduler that died before it could say so. Every job is looked at.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = now()
FROM position_state p
WHERE p.position_id = j.position_id AND p.epoch > j.epoch AND j.status IN ('PROCESSING', 'PENDING', 'WAITING_FOR_DATA')
