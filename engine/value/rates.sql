-- Every rate of every stored pair, from the last one at or before the first date to the last date.
SELECT b.currency_no AS base_no, q.currency_no AS quote_no, r.rate_date, r.rate
FROM (SELECT DISTINCT base_currency, quote_currency FROM fx_rates) pair
JOIN fx_rates r USING (base_currency, quote_currency)
JOIN currencies b ON b.currency = r.base_currency
JOIN currencies q ON q.currency = r.quote_currency
WHERE r.rate_date <= :last_date
  AND r.rate_date >= COALESCE(
          (SELECT max(x.rate_date) FROM fx_rates x
           WHERE x.base_currency = pair.base_currency AND x.quote_currency = pair.quote_currency
             AND x.rate_date <= :first_date),
          :first_date)
