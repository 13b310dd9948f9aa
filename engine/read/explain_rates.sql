-- The last rate dated :date or before of every pair among the given currencies.
SELECT r.base_currency, r.quote_currency, r.rate_date, r.rate
FROM unnest(:currencies::text[]) AS b (currency)
CROSS JOIN unnest(:currencies::text[]) AS q (currency)
CROSS JOIN LATERAL (
    SELECT f.base_currency, f.quote_currency, f.rate_date, f.rate
    FROM fx_rates f
    WHERE f.base_currency = b.currency AND f.quote_currency = q.currency AND f.rate_date <= :date
    ORDER BY f.rate_date DESC
    LIMIT 1
) r
