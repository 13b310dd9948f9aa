-- Insert the records that begin, valid from the epoch that their position has now.
INSERT INTO position_history
    (position_id, position_date, valid_from_epoch, quantity, cost_basis_local, cost_basis)
SELECT position_id, t.position_date, p.epoch, t.becomes[1], t.becomes[2], t.becomes[3]
FROM target_history t JOIN position_state p USING (position_id)
WHERE t.begins
ORDER BY position_id, t.position_date
