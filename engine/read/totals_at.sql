-- read_totals, by the business dates, positions and rows that readers saw at :known_at. Why a line had no value is not recorded:
-- lines_waiting is null, and all of them are lines_missing.
WITH days AS (
    SELECT b.business_date AS date
    FROM portfolios f JOIN business_dates b USING (calendar_id) LEFT JOIN moments m USING (moment_id)
    WHERE f.portfolio_id = :portfolio AND b.business_date BETWEEN :first_date AND :last_date
      AND COALESCE(m.at, '-infinity') <= :known_at::timestamptz
      AND EXISTS (SELECT FROM positions_at(:known_at::timestamptz) k WHERE k.portfolio_id = :portfolio)
    ORDER BY b.business_date
    LIMIT :most
), positions AS MATERIALIZED (
    SELECT * FROM positions_at(:known_at::timestamptz) WHERE portfolio_id = :portfolio
)
SELECT d.date, sum(v.market_value) AS market_value, sum(v.unrealized_gain) AS unrealized_gain,
       count(k.position_id) AS lines, count(v.status) AS lines_valued,
       count(*) FILTER (WHERE v.status = 1) AS lines_stale,
       NULL::bigint AS lines_waiting,
       count(*) FILTER (WHERE k.position_id IS NOT NULL AND v.status IS NULL) AS lines_missing,
       count(*) FILTER (WHERE k.reprocessing_status = 'IN_PROGRESS') AS lines_reprocessing,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id) FILTER (WHERE v.status = 1))[1:20], '{}') AS stale,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id)
                 FILTER (WHERE k.position_id IS NOT NULL AND v.status IS NULL))[1:20], '{}') AS without_value
FROM days d
LEFT JOIN positions k ON k.open_dates @> d.date
LEFT JOIN LATERAL (
    SELECT s.status, s.market_value, s.unrealized_gain FROM dated_snapshots s
    WHERE s.position_id = k.position_id AND s.date = d.date AND s.epoch <= k.epoch AND s.valued_at <= :known_at::timestamptz
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
GROUP BY d.date
ORDER BY d.date
