-- The prices of each instrument from the last one at or before its first date to its last date.
--
-- The arrays are parallel; days are counted from 1970-01-01.
SELECT k.instrument_no, m.price_date, m.price, c.currency_no, m.quote_basis
FROM (
    SELECT i.security_id, i.instrument_no, DATE '1970-01-01' + first_day AS first_date,
           DATE '1970-01-01' + last_day AS last_date
    FROM unnest(:instruments::integer[], :first_days::integer[], :last_days::integer[])
        AS n (instrument_no, first_day, last_day)
    JOIN instruments i USING (instrument_no)
) k
JOIN market_prices m
  ON m.security_id = k.security_id
 AND m.price_date <= k.last_date
 AND m.price_date >= COALESCE(
         (SELECT max(x.price_date) FROM market_prices x
          WHERE x.security_id = k.security_id AND x.price_date <= k.first_date),
         k.first_date)
JOIN currencies c ON c.currency = m.currency
