-- The last rate of each pair before a date, however old: direct, inverse or crossed through the
-- pivot currency, whichever is the newest.
--
-- locals, bases, dates: parallel. As no rate is too old here, the order of kinds of the valuation
-- would prefer a series that has ended to the one that is in use.
WITH legs AS (
    SELECT w.local_currency, w.base_currency, w.fx_date, pair.source, pair.target,
           newest.rate_date, newest.rate
    FROM unnest(:locals::text[], :bases::text[], :dates::date[])
        AS w (local_currency, base_currency, fx_date)
    LEFT JOIN valuation_policy p ON true
    CROSS JOIN LATERAL (
        VALUES (w.local_currency, w.base_currency), (w.local_currency, p.fx_pivot_currency),
               (p.fx_pivot_currency, w.base_currency)
    ) AS pair (source, target)
    CROSS JOIN LATERAL (
        (SELECT f.rate_date, f.rate, 1 AS kind
         FROM fx_rates f
         WHERE f.base_currency = pair.source AND f.quote_currency = pair.target
           AND f.rate_date < w.fx_date
         ORDER BY f.rate_date DESC
         LIMIT 1)
        UNION ALL
        (SELECT f.rate_date, round_half_even(1::numeric(60, 40) / f.rate, 18), 2
         FROM fx_rates f
         WHERE f.base_currency = pair.target AND f.quote_currency = pair.source
           AND f.rate_date < w.fx_date
         ORDER BY f.rate_date DESC
         LIMIT 1)
        ORDER BY rate_date DESC, kind
        LIMIT 1
    ) newest
), found AS (
    SELECT local_currency, base_currency, fx_date, rate_date, rate, 1 AS kind
    FROM legs
    WHERE source = local_currency AND target = base_currency
    UNION ALL
    SELECT local_currency, base_currency, fx_date, least(a.rate_date, b.rate_date),
           round_half_even(a.rate * b.rate, 18), 2
    FROM legs a
    JOIN legs b USING (local_currency, base_currency, fx_date)
    WHERE a.source = local_currency AND a.target = b.source AND b.target = base_currency
)
SELECT DISTINCT ON (local_currency, base_currency, fx_date)
       local_currency, base_currency, fx_date, rate AS last_rate
FROM found
ORDER BY local_currency, base_currency, fx_date, rate_date DESC, kind
