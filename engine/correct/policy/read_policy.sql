-- The valuation policy.
SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy
