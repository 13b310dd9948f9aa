-- The positions of a portfolio on a date (NULL: none), as readers see them now (:known_at NULL) or
-- saw them at :known_at. One row per open position after security :after.
--
-- The date is given and not looked up here, so that only its month of snapshots is planned.
-- A position without a value says why it has none. Of the past, the state and the watermark are not
-- recorded: they are NULL.
-- readable_epoch: a row in the lake of a greater epoch, up to this one, replaces the values.
SELECT k.security_id, i.currency AS local_currency, f.base_currency, :date::date AS date,
       CASE WHEN v.status = 0 THEN 'VALUED_CURRENT'
            WHEN v.status = 1 THEN 'VALUED_STALE'
            WHEN lacking.reason LIKE 'OVERFLOW %' THEN 'FAILED'
            WHEN lacking.reason IS NOT NULL THEN 'WAITING_FOR_DATA'
            WHEN k.state = 'FAILED' THEN 'FAILED'
            ELSE 'NOT_VALUED' END AS valuation_status,
       v.quantity, v.cost_basis_local, v.cost_basis, v.price, v.price_date, v.fx_rate, v.fx_date,
       v.market_value_local, v.market_value, v.unrealized_gain_local, v.unrealized_gain, v.epoch,
       k.published_epoch, k.watermark_date, k.state, k.reprocessing_status,
       CASE WHEN v.status IS NULL THEN COALESCE(lacking.reason, k.failure_reason) END
           AS failure_reason,
       lower(k.holes) AS first_hole, upper(k.holes) - 1 AS last_hole, k.frontier_date,
       CASE WHEN k.reprocessing_status = 'IN_PROGRESS'
            THEN reprocessing_since(k.position_id, :known_at::timestamptz)
            END AS reprocessing_since,
       k.position_id,
       CASE WHEN NOT k.hidden @> :date::date THEN k.published_epoch END AS readable_epoch
FROM portfolios f
JOIN positions_at(:known_at::timestamptz, :portfolio) k ON k.portfolio_id = f.portfolio_id
JOIN instruments i ON i.security_id = k.security_id
LEFT JOIN LATERAL (
    SELECT s.*
    FROM snapshots_at(:known_at::timestamptz) s
    WHERE s.position_id = k.position_id AND s.date = :date AND s.epoch <= k.published_epoch
      AND NOT k.hidden @> :date::date
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN k.hidden @> :date::date
                THEN hole_reason(k.position_id, k.published_epoch, :date) END AS reason
) lacking
WHERE f.portfolio_id = :portfolio AND k.security_id > :after AND k.open_dates @> :date::date
ORDER BY k.security_id
LIMIT :limit
