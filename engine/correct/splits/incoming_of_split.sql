-- Make incoming rows of the records that a split changes: another quantity at the same cost.
INSERT INTO incoming
    (portfolio_id, security_id, position_date, quantity, cost_basis_local, cost_basis)
SELECT portfolio_id, security_id, position_date, new_quantity, cost_basis_local, cost_basis
FROM split_records
