-- read_positions, by the business dates, positions and rows that readers saw at :known_at. What is not recorded of the past (state
-- and watermark of a position, and why a line had no value) is null.
SELECT k.position_id, k.security_id, i.currency AS local_currency, f.base_currency, day.date,
       CASE WHEN v.status = 0 THEN 'VALUED_CURRENT' WHEN v.status = 1 THEN 'VALUED_STALE' ELSE 'NOT_VALUED' END
           AS valuation_status,
       v.quantity, v.cost_basis_local, v.cost_basis, v.price, v.price_date, v.fx_rate, v.fx_date, v.market_value_local,
       v.market_value, v.unrealized_gain_local, v.unrealized_gain, v.epoch, k.epoch AS published_epoch,
       NULL::date AS watermark_date, NULL::text AS state, k.reprocessing_status, NULL::text AS failure_reason
FROM portfolios f
CROSS JOIN LATERAL (
    SELECT max(b.business_date) AS date FROM business_dates b LEFT JOIN moments m USING (moment_id)
    WHERE b.calendar_id = f.calendar_id AND b.business_date <= :as_of AND COALESCE(m.at, '-infinity') <= :known_at::timestamptz
) day
JOIN positions_at(:known_at::timestamptz) k USING (portfolio_id)
JOIN instruments i ON i.security_id = k.security_id
LEFT JOIN LATERAL (
    SELECT s.* FROM dated_snapshots s
    WHERE s.position_id = k.position_id AND s.date = day.date AND s.epoch <= k.epoch AND s.valued_at <= :known_at::timestamptz
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
WHERE f.portfolio_id = :portfolio AND k.security_id > :after AND k.open_dates @> day.date
ORDER BY k.security_id
LIMIT :most
