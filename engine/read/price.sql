-- The price that a security has on a date, as quoted: not the last known one.
SELECT price FROM market_prices WHERE security_id = :security AND price_date = :date
