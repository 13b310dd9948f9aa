-- The valuation policy, with the number of the pivot currency.
SELECT c.currency_no AS pivot_no, v.fx_max_age_sessions
FROM valuation_policy v
JOIN currencies c ON c.currency = v.fx_pivot_currency
