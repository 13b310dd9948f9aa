-- The valued dates of a position after :after, from :first_date to :last_date (both included), as
-- readers see them now (:known_at NULL) or saw them at :known_at.
--
-- Snapshots are sorted by date first: each date is looked up. A position has them on business dates
-- of its calendar only, and on dates that were business dates when they were valued.
SELECT s.date,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date, s.fx_rate, s.fx_date,
       s.market_value_local, s.market_value, s.unrealized_gain_local, s.unrealized_gain, s.epoch
FROM publications_at(:known_at::timestamptz, :portfolio, :security) k
JOIN portfolios f ON f.portfolio_id = k.portfolio_id
CROSS JOIN LATERAL (
    SELECT b.business_date AS date FROM business_dates b WHERE b.calendar_id = f.calendar_id
    UNION
    SELECT r.business_date FROM removed_business_dates r WHERE r.calendar_id = f.calendar_id
) d
CROSS JOIN LATERAL (
    SELECT v.*
    FROM snapshots_at(:known_at::timestamptz) v
    WHERE v.position_id = k.position_id AND v.date = d.date AND v.epoch <= k.published_epoch
      AND v.date BETWEEN :first_date AND :last_date
    ORDER BY v.epoch DESC
    LIMIT 1
) s
WHERE k.portfolio_id = :portfolio AND k.security_id = :security
  AND d.date > :after AND d.date BETWEEN :first_date AND :last_date
  AND d.date <@ k.open_dates AND NOT d.date <@ k.hidden
ORDER BY d.date
LIMIT :limit
