-- Make incoming rows of the position records that a load has replaced, as they were before; of
-- those that it has added, rows without a quantity.
INSERT INTO incoming
    (portfolio_id, security_id, position_date, quantity, cost_basis_local, cost_basis)
SELECT p.portfolio_id, p.security_id, r.position_date, r.old_record[1], r.old_record[2],
       r.old_record[3]
FROM reverted r
JOIN position_state p USING (position_id)
WHERE NOT r.is_later
