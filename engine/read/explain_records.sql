-- The position record in force on :date and the one before it, the later one first. The one before
-- says whether a quantity of 0 closes the position.
SELECT position_date, quantity, cost_basis_local, cost_basis
FROM position_history
WHERE position_id = :position AND valid_to_epoch IS NULL AND position_date <= :date
ORDER BY position_date DESC
LIMIT 2
