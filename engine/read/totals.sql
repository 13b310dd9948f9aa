-- A line that has no value is counted and named, never summed as 0: a total over such lines is not complete.
WITH days AS (
    SELECT b.business_date AS date
    FROM portfolios f JOIN business_dates b USING (calendar_id)
    WHERE f.portfolio_id = :portfolio AND b.business_date BETWEEN :first_date AND :last_date
    ORDER BY b.business_date
    LIMIT :most
), positions AS MATERIALIZED (
    SELECT p.position_id, p.security_id, p.published_epoch, p.published_open_dates, s.state, s.reprocessing_status
    FROM position_state p JOIN position_status s USING (position_id)
    WHERE p.portfolio_id = :portfolio
)
SELECT d.date, sum(v.market_value) AS market_value, sum(v.unrealized_gain) AS unrealized_gain,
       count(k.position_id) AS lines, count(v.status) AS lines_valued,
       count(*) FILTER (WHERE v.status = 1) AS lines_stale,
       count(*) FILTER (WHERE v.status IS NULL AND k.state IN ('WAITING_FOR_DATA', 'FAILED')) AS lines_waiting,
       count(*) FILTER (WHERE v.status IS NULL AND k.state NOT IN ('WAITING_FOR_DATA', 'FAILED')) AS lines_missing,
       count(*) FILTER (WHERE k.reprocessing_status = 'IN_PROGRESS') AS lines_reprocessing,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id) FILTER (WHERE v.status = 1))[1:20], '{}') AS stale,
       COALESCE((array_agg(k.security_id ORDER BY k.security_id)
                 FILTER (WHERE k.position_id IS NOT NULL AND v.status IS NULL))[1:20], '{}') AS without_value
FROM days d
LEFT JOIN positions k ON k.published_open_dates @> d.date
LEFT JOIN LATERAL (
    SELECT n.status, n.market_value, n.unrealized_gain FROM daily_position_snapshots n
    WHERE n.position_id = k.position_id AND n.date = d.date AND n.epoch <= k.published_epoch
    ORDER BY n.epoch DESC
    LIMIT 1
) v ON true
GROUP BY d.date
ORDER BY d.date
