-- The first :most rates that were changed since the load: which, what it left, what is stored now.
SELECT format('%s/%s %s', base_currency, quote_currency, rate_date) AS subject,
       COALESCE(new_rate::text, '') AS left_by_load, COALESCE(rate::text, '') AS now
FROM reverted
WHERE is_later
ORDER BY base_currency, quote_currency, rate_date
LIMIT :most
