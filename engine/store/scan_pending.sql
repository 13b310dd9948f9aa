SELECT p.position_id, lower(r) AS first_date, upper(r) - 1 AS last_date
FROM position_state p CROSS JOIN LATERAL unnest(p.pending) AS r
WHERE p.position_id BETWEEN :first_position AND :last_position AND p.staged_epoch <> p.epoch
