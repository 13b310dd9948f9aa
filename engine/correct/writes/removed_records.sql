-- The position records that the load removes.
SELECT p.portfolio_id, p.security_id, t.position_date, t.was[1] AS quantity,
       t.was[2] AS cost_basis_local, t.was[3] AS cost_basis
FROM target_history t JOIN position_state p USING (position_id)
WHERE t.ends AND NOT t.begins
ORDER BY p.portfolio_id, p.security_id, t.position_date
