-- The first :most records that a split changes, with their quantities before and after it.
SELECT portfolio_id, position_date, quantity, new_quantity
FROM split_records
ORDER BY portfolio_id, position_date
LIMIT :most
