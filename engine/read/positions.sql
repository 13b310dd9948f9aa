-- The lines of a portfolio on the last business date at or before :as_of, by the history that readers see. A line without a
-- value says why it has none.
SELECT p.position_id, p.security_id, i.currency AS local_currency, f.base_currency, day.date,
       CASE WHEN v.status = 0 THEN 'VALUED_CURRENT' WHEN v.status = 1 THEN 'VALUED_STALE'
            WHEN s.state IN ('WAITING_FOR_DATA', 'FAILED') THEN s.state ELSE 'NOT_VALUED' END AS valuation_status,
       v.quantity, v.cost_basis_local, v.cost_basis, v.price, v.price_date, v.fx_rate, v.fx_date, v.market_value_local,
       v.market_value, v.unrealized_gain_local, v.unrealized_gain, v.epoch, s.published_epoch, s.watermark_date, s.state,
       s.reprocessing_status, s.failure_reason
FROM portfolios f
CROSS JOIN LATERAL (
    SELECT max(b.business_date) AS date FROM business_dates b WHERE b.calendar_id = f.calendar_id AND b.business_date <= :as_of
) day
JOIN position_state p USING (portfolio_id)
JOIN position_status s USING (position_id)
JOIN instruments i ON i.security_id = p.security_id
LEFT JOIN LATERAL (
    SELECT n.* FROM daily_position_snapshots n
    WHERE n.position_id = p.position_id AND n.date = day.date AND n.epoch <= p.published_epoch
    ORDER BY n.epoch DESC
    LIMIT 1
) v ON true
WHERE f.portfolio_id = :portfolio AND p.security_id > :after AND p.published_open_dates @> day.date
ORDER BY p.security_id
LIMIT :most
