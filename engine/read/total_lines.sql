-- The lines of the totals of a portfolio (totals.sql), one row per business date and open position;
-- a date without one has a row without a position. By date and security.
--
-- readable_epoch: a row in the lake of a greater epoch, up to this one, replaces the values.
WITH positions AS MATERIALIZED (
    SELECT k.position_id, k.security_id, k.published_epoch, k.open_dates, k.hidden,
           k.reprocessing_status
    FROM positions_at(:known_at::timestamptz, :portfolio) k
    WHERE k.portfolio_id = :portfolio
), days AS (
    SELECT b.business_date AS date
    FROM portfolios f JOIN business_dates_at(:known_at::timestamptz) b USING (calendar_id)
    WHERE f.portfolio_id = :portfolio AND b.business_date BETWEEN :first_date AND :last_date
      AND EXISTS (SELECT FROM positions)
    ORDER BY b.business_date
    LIMIT :limit
)
SELECT d.date, k.position_id, k.security_id, k.reprocessing_status = 'IN_PROGRESS' AS reprocesses,
       COALESCE(
           k.hidden @> d.date
           AND hole_reason(k.position_id, k.published_epoch, d.date) IS NOT NULL, false) AS waits,
       v.epoch, v.status, v.market_value, v.unrealized_gain,
       CASE WHEN NOT k.hidden @> d.date THEN k.published_epoch END AS readable_epoch
FROM days d
LEFT JOIN positions k ON k.open_dates @> d.date
LEFT JOIN LATERAL (
    SELECT s.epoch, s.status, s.market_value, s.unrealized_gain
    FROM snapshots_at(:known_at::timestamptz) s
    WHERE s.position_id = k.position_id AND s.date = d.date AND s.epoch <= k.published_epoch
      AND s.date BETWEEN :first_date AND :last_date
      AND NOT k.hidden @> d.date
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
ORDER BY d.date, k.security_id
