-- The record of a position that is in force on a date.
SELECT position_date, quantity, cost_basis_local, cost_basis
FROM position_history
WHERE position_id = :position AND valid_to_epoch IS NULL AND position_date <= :date::date
ORDER BY position_date DESC
LIMIT 1
