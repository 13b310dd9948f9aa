-- The stored price of a security and date, locked until the correction commits.
SELECT price, currency, quote_basis
FROM market_prices
WHERE security_id = :security AND price_date = :date
FOR UPDATE
