-- valuations, by the positions and rows that readers saw at :known_at.
SELECT DISTINCT ON (k.portfolio_id, k.security_id, s.date)
       k.portfolio_id, k.security_id, s.date, f.base_currency, i.currency AS local_currency,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status, k.reprocessing_status,
       s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date, s.fx_rate, s.fx_date, s.market_value_local,
       s.market_value, s.unrealized_gain_local, s.unrealized_gain, s.epoch
FROM positions_at(:known_at::timestamptz) k
JOIN portfolios f USING (portfolio_id)
JOIN instruments i USING (security_id)
JOIN dated_snapshots s ON s.position_id = k.position_id AND s.epoch <= k.epoch AND s.date <@ k.open_dates
                      AND s.valued_at <= :known_at::timestamptz
WHERE (:portfolio::text IS NULL OR k.portfolio_id = :portfolio)
  AND (:security::text IS NULL OR k.security_id = :security)
  AND (:first_date::date IS NULL OR s.date >= :first_date)
  AND (:last_date::date IS NULL OR s.date <= :last_date)
ORDER BY k.portfolio_id, k.security_id, s.date, s.epoch DESC
