-- A position with what its valuation depends on, apart from dated data: currencies, limits, and the
-- business dates of its calendar up to :date, from which the ages of prices and rates are counted.
-- Of the calendar also through which date it is opened and which dates it has at all, to say why no
-- row is due.
SELECT p.position_id, p.epoch, p.published_epoch, p.history_epoch, p.watermark_date,
       p.frontier_date, f.base_currency, f.calendar_id, i.currency AS local_currency,
       i.contract_multiplier, i.max_price_age_sessions, v.fx_pivot_currency,
       v.fx_max_age_sessions, s.state, s.reprocessing_status, s.failure_reason,
       CASE WHEN s.reprocessing_status = 'IN_PROGRESS'
            THEN reprocessing_since(p.position_id, NULL) END AS reprocessing_since,
       c.opened_through, d.first_business_date, d.last_business_date,
       ARRAY(SELECT b.business_date FROM business_dates b
             WHERE b.calendar_id = f.calendar_id AND b.business_date <= :date
             ORDER BY b.business_date) AS business_dates
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN calendars c USING (calendar_id)
JOIN instruments i USING (security_id)
JOIN position_status s USING (position_id)
CROSS JOIN valuation_policy v
CROSS JOIN LATERAL (
    SELECT min(b.business_date) AS first_business_date, max(b.business_date) AS last_business_date
    FROM business_dates b
    WHERE b.calendar_id = c.calendar_id
) d
WHERE p.portfolio_id = :portfolio AND p.security_id = :security
