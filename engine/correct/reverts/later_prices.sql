-- The first :most prices that were changed since the load: which, what it left, what is stored now.
SELECT concat_ws(' ', security_id, price_date) AS subject,
       concat_ws(' ', new_price, new_currency, new_quote_basis) AS left_by_load,
       concat_ws(' ', price, currency, quote_basis) AS now
FROM reverted
WHERE is_later
ORDER BY security_id, price_date
LIMIT :most
