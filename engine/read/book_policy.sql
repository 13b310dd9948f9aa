-- The valuation policy: the pivot of cross rates, and how many business days old a rate may be.
SELECT fx_pivot_currency, fx_max_age_sessions FROM valuation_policy
