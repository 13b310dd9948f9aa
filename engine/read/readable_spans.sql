-- What may be read of positions from :first_date to :last_date (both included), now (NULL) or at
-- :known_at: the ranges of dates on which a position is open and shows a number, and the
-- greatest epoch of its rows (epoch). place: of the position, by the names of portfolio and
-- security.
SELECT k.position_id, k.portfolio_id, k.security_id, f.base_currency, i.currency AS local_currency,
       k.reprocessing_status, k.published_epoch AS epoch,
       GREATEST(lower(r.dates), :first_date::date) AS first_date,
       LEAST(COALESCE(upper(r.dates) - 1, :last_date::date), :last_date::date) AS last_date,
       dense_rank() OVER (ORDER BY k.portfolio_id, k.security_id) AS place
FROM positions_at(:known_at::timestamptz, :portfolio, :security) k
JOIN portfolios f USING (portfolio_id)
JOIN instruments i USING (security_id)
CROSS JOIN LATERAL unnest(k.open_dates - k.hidden) AS r (dates)
WHERE (:portfolio::text IS NULL OR k.portfolio_id = :portfolio)
  AND (:security::text IS NULL OR k.security_id = :security)
  AND :first_date <= :last_date
  AND COALESCE(lower(r.dates) <= :last_date, true) AND COALESCE(upper(r.dates) > :first_date, true)
