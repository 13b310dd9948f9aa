-- The first :most records that are in new shares already, as it seems.
SELECT portfolio_id, position_date, quantity
FROM split_records
WHERE is_split
ORDER BY portfolio_id, position_date
LIMIT :most
