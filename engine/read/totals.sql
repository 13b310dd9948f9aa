-- The totals of a portfolio per business date, as readers see them now (:known_at NULL) or saw
-- them at :known_at: the sums, and how many open positions (lines) the sums are of.
--
-- A line without a value is counted and named, never summed as 0: a total over such lines is not
-- complete. lines_waiting: a value is missing for a known reason (a hole); lines_missing: not
-- valued yet. A portfolio without positions has no totals. The dates are named for the snapshots
-- too, so that only the months among them are planned.
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
SELECT d.date, sum(v.market_value) AS market_value, sum(v.unrealized_gain) AS unrealized_gain,
       count(k.position_id) AS lines, count(v.status) AS lines_valued,
       count(*) FILTER (WHERE v.status = 1) AS lines_stale,
       count(*) FILTER (WHERE w.waits) AS lines_waiting,
       count(*) FILTER (WHERE k.position_id IS NOT NULL AND v.status IS NULL AND NOT w.waits)
           AS lines_missing,
       count(*) FILTER (WHERE k.reprocessing_status = 'IN_PROGRESS') AS lines_reprocessing,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id)
                 FILTER (WHERE v.status = 1))[1:20], '{}') AS stale,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id)
                 FILTER (WHERE k.position_id IS NOT NULL AND v.status IS NULL))[1:20], '{}')
           AS without_value
FROM days d
LEFT JOIN positions k ON k.open_dates @> d.date
LEFT JOIN LATERAL (
    SELECT s.status, s.market_value, s.unrealized_gain
    FROM snapshots_at(:known_at::timestamptz) s
    WHERE s.position_id = k.position_id AND s.date = d.date AND s.epoch <= k.published_epoch
      AND s.date BETWEEN :first_date AND :last_date
      AND NOT k.hidden @> d.date
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
CROSS JOIN LATERAL (
    SELECT COALESCE(
        k.hidden @> d.date
        AND hole_reason(k.position_id, k.published_epoch, d.date) IS NOT NULL, false) AS waits
) w
GROUP BY d.date
ORDER BY d.date
