-- From the last price at or before the first date that an instrument needs, to the last date.
SELECT k.instrument_no, m.price_date, m.price, c.currency_no, m.quote_basis
FROM (
    SELECT i.security_id, i.instrument_no, min(COALESCE(j.valued_through + 1, j.first_date)) AS first_date,
           max(j.last_date) AS last_date
    FROM portfolio_valuation_jobs j
    JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
    JOIN instruments i USING (security_id)
    WHERE j.job_id BETWEEN :first_job AND :last_job
      AND CASE WHEN j.task_id = :task AND j.status = 'PROCESSING' THEN true END
    GROUP BY i.security_id, i.instrument_no
) k
JOIN market_prices m
  ON m.security_id = k.security_id AND m.price_date <= k.last_date
 AND m.price_date >= COALESCE((SELECT max(x.price_date) FROM market_prices x
                               WHERE x.security_id = k.security_id AND x.price_date <= k.first_date), k.first_date)
JOIN currencies c ON c.currency = m.currency
