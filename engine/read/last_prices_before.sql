-- The last stored price before each given one, however old: per unit, in the currency of the
-- security, as the given one is.
--
-- securities, dates, prices: parallel: the date of a price, and the price that is shown. The price
-- before is converted as the given one is, if it is quoted in the same currency. NULL if it cannot
-- be compared: in another currency than both, or per contract without a multiplier.
WITH quoted AS NOT MATERIALIZED (
    SELECT m.security_id, m.price_date, c.major_currency, i.currency AS own_currency,
           round_half_even(
               (m.price * CASE m.quote_basis WHEN 'PER_UNIT' THEN 1
                                             WHEN 'PERCENT_OF_PAR' THEN 0.01
                                             ELSE i.contract_multiplier END
               )::numeric(60, 30) / c.units_per_major, 18) AS unit_price
    FROM market_prices m
    JOIN currencies c USING (currency)
    JOIN instruments i USING (security_id)
)
SELECT w.security_id, w.price_date,
       CASE WHEN b.major_currency = b.own_currency THEN b.unit_price
            WHEN b.major_currency = n.major_currency
            THEN round_half_even(w.price * b.unit_price / n.unit_price, 18) END AS last_price
FROM unnest(:securities::text[], :dates::date[], :prices::numeric[])
    AS w (security_id, price_date, price)
CROSS JOIN LATERAL (
    SELECT q.major_currency, q.own_currency, q.unit_price
    FROM quoted q
    WHERE q.security_id = w.security_id AND q.price_date < w.price_date
    ORDER BY q.price_date DESC
    LIMIT 1
) b
LEFT JOIN quoted n ON n.security_id = w.security_id AND n.price_date = w.price_date
