-- The valued dates of a position after :after, from :first_date to :last_date (both included), as
-- readers see them now (:known_at NULL) or saw them at :known_at.
SELECT DISTINCT ON (s.date)
       s.date,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date, s.fx_rate, s.fx_date,
       s.market_value_local, s.market_value, s.unrealized_gain_local, s.unrealized_gain, s.epoch
FROM publications_at(:known_at::timestamptz) k
JOIN snapshots_at(:known_at::timestamptz) s
  ON s.position_id = k.position_id AND s.epoch <= k.published_epoch AND s.date <@ k.open_dates
 AND NOT s.date <@ k.hidden
WHERE k.portfolio_id = :portfolio AND k.security_id = :security
  AND s.date > :after AND s.date BETWEEN :first_date AND :last_date
ORDER BY s.date, s.epoch DESC
LIMIT :limit
