-- Delete a stored price. A database trigger records the correction.
DELETE FROM market_prices WHERE security_id = :security AND price_date = :date
