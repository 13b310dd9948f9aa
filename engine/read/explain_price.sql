-- The last price of a security that is dated :date or before, as quoted.
SELECT price_date, price, currency, quote_basis
FROM market_prices
WHERE security_id = :security AND price_date <= :date
ORDER BY price_date DESC
LIMIT 1
