-- The first :most records whose new quantity cannot be stored as it is.
SELECT portfolio_id, position_date, quantity
FROM split_records
WHERE NOT is_exact OR abs(new_quantity) >= 1e18
ORDER BY portfolio_id, position_date
LIMIT :most
