SELECT position_date, quantity, cost_basis_local, cost_basis
FROM position_history
WHERE position_id = :position AND epoch = :epoch AND position_date <= :date
ORDER BY position_date DESC
LIMIT 1
