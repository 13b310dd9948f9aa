-- The position records of every position's present history, by position and date.
SELECT s.portfolio_id, s.security_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis
FROM position_state s
JOIN position_history h ON h.position_id = s.position_id AND h.epoch = s.history_epoch
ORDER BY h.position_id, h.position_date
