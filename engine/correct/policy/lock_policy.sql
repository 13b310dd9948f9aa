-- The valuation policy, locked until its change commits.
SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy FOR UPDATE
