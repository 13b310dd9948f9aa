-- A correction writes the whole history under its new epoch; the old one stays under the old epoch, as the audit trail.
INSERT INTO position_history (position_id, epoch, position_date, quantity, cost_basis_local, cost_basis)
SELECT b.position_id, p.history_epoch, b.position_date, b.quantity, b.cost_basis_local, b.cost_basis
FROM changed_positions c
JOIN position_state p USING (position_id)
JOIN becomes b ON b.position_id = c.position_id
WHERE b.stays AND (c.is_correction OR b.position_date >= c.first_change)
ORDER BY b.position_id, b.position_date
