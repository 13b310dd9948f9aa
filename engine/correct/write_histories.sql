-- Write the changed histories. A correction writes the whole history under its new epoch; the old
-- one stays under the old epoch, as the audit trail. An extension adds its records.
INSERT INTO position_history
    (position_id, epoch, position_date, quantity, cost_basis_local, cost_basis)
SELECT t.position_id, p.history_epoch, t.position_date, t.quantity, t.cost_basis_local,
       t.cost_basis
FROM changed_positions c
JOIN position_state p USING (position_id)
JOIN target_history t ON t.position_id = c.position_id
WHERE t.stays AND (c.is_correction OR t.position_date >= c.first_change)
ORDER BY t.position_id, t.position_date
