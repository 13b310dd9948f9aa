-- All prices as quoted, by security and date.
SELECT security_id, price_date, price, currency, quote_basis
FROM market_prices
ORDER BY security_id, price_date
