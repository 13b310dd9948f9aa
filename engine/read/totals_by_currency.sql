-- What readers see, summed over all portfolios of a base currency, per date. As text: the sums are
-- exact.
SELECT base_currency, date, sum(market_value)::text AS market_value,
       sum(unrealized_gain)::text AS unrealized_gain
FROM position_valuations
GROUP BY base_currency, date
ORDER BY base_currency, date
