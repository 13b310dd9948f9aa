SELECT p.position_id, p.epoch, p.published_epoch, p.history_epoch, p.watermark_date, p.frontier_date,
       p.open_dates @> :date::date AS is_open, f.base_currency, f.calendar_id, i.currency AS local_currency,
       i.contract_multiplier, i.max_price_age_sessions, v.fx_pivot_currency, v.fx_max_age_sessions,
       s.state, s.reprocessing_status, s.failure_reason,
       EXISTS (SELECT FROM business_dates b WHERE b.calendar_id = f.calendar_id AND b.business_date = :date)
           AS is_business_date,
       (SELECT min(b.business_date) FROM business_dates b WHERE b.calendar_id = f.calendar_id) AS first_business_date
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN instruments i USING (security_id)
JOIN position_status s USING (position_id)
CROSS JOIN valuation_policy v
WHERE p.portfolio_id = :portfolio AND p.security_id = :security
