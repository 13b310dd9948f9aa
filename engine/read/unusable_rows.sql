-- Stored data that no rule of docs/valuation.md can use: dates beyond those that can be loaded, and
-- multipliers that are no number. The database refuses them; a row may be older than that.
SELECT 'market_prices' AS stored_in, security_id AS subject, price_date::text AS value
FROM market_prices
WHERE price_date NOT BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
UNION ALL
SELECT 'fx_rates', base_currency || '/' || quote_currency, rate_date::text
FROM fx_rates
WHERE rate_date NOT BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
UNION ALL
SELECT 'business_dates', calendar_id, business_date::text
FROM business_dates
WHERE business_date NOT BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
UNION ALL
SELECT 'position_history', p.portfolio_id || ' / ' || p.security_id, h.position_date::text
FROM position_history h
JOIN position_state p USING (position_id)
WHERE h.position_date NOT BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
UNION ALL
SELECT 'instruments', security_id, 'contract_multiplier ' || contract_multiplier
FROM instruments
WHERE contract_multiplier = 'NaN'
ORDER BY 1, 2, 3
LIMIT :limit
