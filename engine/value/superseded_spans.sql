-- The spans of an attempt whose position has a newer epoch by now (the other fence).
SELECT s.job_id, s.position_id
FROM (
    SELECT j.job_id, u.position_id, u.epoch
    FROM portfolio_valuation_jobs j
    CROSS JOIN LATERAL unnest(j.positions, j.epochs) AS u (position_id, epoch)
    WHERE j.task_id = :task AND j.status = 'PROCESSING'
) s
JOIN position_state p USING (position_id)
WHERE p.epoch <> s.epoch
  AND s.position_id BETWEEN :first_position AND :last_position
  AND p.position_id BETWEEN :first_position AND :last_position
