-- Change the valuation policy. A database trigger records the correction of all positions.
UPDATE valuation_policy SET fx_pivot_currency = :pivot, fx_max_age_sessions = :max_age
