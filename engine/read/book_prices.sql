-- The prices of the given securities (NULL: of all) as quoted, by security and date; see
-- unusable_rows about the limits.
SELECT security_id, price_date, price, currency, quote_basis
FROM market_prices
WHERE (:securities::text[] IS NULL OR security_id = ANY (:securities))
  AND price_date BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
ORDER BY security_id, price_date
