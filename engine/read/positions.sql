-- The positions of a portfolio on the last opened business date at or before :as_of, as readers see
-- them now (:known_at NULL) or saw them at :known_at. One row per open position after security
-- :after.
--
-- A position without a value says why it has none. Of the past that reason is not recorded, and
-- neither are the state, the watermark and the failure reason: they are NULL.
SELECT k.security_id, i.currency AS local_currency, f.base_currency, day.date,
       CASE WHEN v.status = 0 THEN 'VALUED_CURRENT'
            WHEN v.status = 1 THEN 'VALUED_STALE'
            WHEN k.state IN ('WAITING_FOR_DATA', 'FAILED') THEN k.state
            ELSE 'NOT_VALUED' END AS valuation_status,
       v.quantity, v.cost_basis_local, v.cost_basis, v.price, v.price_date, v.fx_rate, v.fx_date,
       v.market_value_local, v.market_value, v.unrealized_gain_local, v.unrealized_gain, v.epoch,
       k.published_epoch, k.watermark_date, k.state, k.reprocessing_status, k.failure_reason,
       CASE WHEN k.reprocessing_status = 'IN_PROGRESS'
            THEN reprocessing_since(k.position_id, :known_at::timestamptz)
            END AS reprocessing_since
FROM portfolios f
CROSS JOIN LATERAL (
    SELECT b.business_date AS date
    FROM business_dates_at(:known_at::timestamptz) b
    WHERE b.calendar_id = f.calendar_id AND b.business_date <= :as_of
    ORDER BY b.business_date DESC
    LIMIT 1
) day
JOIN positions_at(:known_at::timestamptz) k ON k.portfolio_id = f.portfolio_id
JOIN instruments i ON i.security_id = k.security_id
LEFT JOIN LATERAL (
    SELECT s.*
    FROM snapshots_at(:known_at::timestamptz) s
    WHERE s.position_id = k.position_id AND s.date = day.date AND s.epoch <= k.published_epoch
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
WHERE f.portfolio_id = :portfolio AND k.security_id > :after AND k.open_dates @> day.date
ORDER BY k.security_id
LIMIT :limit
