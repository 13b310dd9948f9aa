-- The view position_valuations would ask of every row whether its position is in correction; here it is asked once a position.
WITH positions AS MATERIALIZED (
    SELECT p.position_id, portfolio_id, security_id, f.base_currency, i.currency AS local_currency, s.reprocessing_status,
           p.published_epoch, p.published_open_dates
    FROM position_state p
    JOIN portfolios f USING (portfolio_id)
    JOIN instruments i USING (security_id)
    JOIN position_status s USING (position_id, portfolio_id, security_id)
    WHERE (:portfolio::text IS NULL OR portfolio_id = :portfolio) AND (:security::text IS NULL OR security_id = :security)
)
SELECT k.portfolio_id, k.security_id, s.date, k.base_currency, k.local_currency,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status, k.reprocessing_status,
       s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date, s.fx_rate, s.fx_date, s.market_value_local,
       s.market_value, s.unrealized_gain_local, s.unrealized_gain, s.epoch
FROM positions k
JOIN daily_position_snapshots s
  ON s.position_id = k.position_id AND s.epoch <= k.published_epoch AND s.date <@ k.published_open_dates
WHERE (:first_date::date IS NULL OR s.date >= :first_date)
  AND (:last_date::date IS NULL OR s.date <= :last_date)
  AND NOT EXISTS (
      SELECT FROM daily_position_snapshots n
      WHERE n.position_id = s.position_id AND n.date = s.date AND n.epoch > s.epoch AND n.epoch <= k.published_epoch
  )
ORDER BY k.portfolio_id, k.security_id, s.date
