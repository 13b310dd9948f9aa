-- The valued position-days that readers see now (:known_at NULL) or saw at :known_at.
--
-- The view position_valuations would ask for every row whether its position is reprocessing; here
-- it is asked once per position. NOT EXISTS instead of DISTINCT ON: most dates have one snapshot,
-- and an anti-join of all is faster than a sort of all. The range is given for both, so that only
-- its months are planned and read.
--
-- All snapshots have a date that is or was a business date: with that said, those of a few
-- positions are looked up date by date, as the primary key has them.
WITH positions AS MATERIALIZED (
    SELECT k.position_id, k.portfolio_id, k.security_id, f.base_currency,
           i.currency AS local_currency, k.reprocessing_status, k.published_epoch, k.open_dates,
           k.hidden
    FROM positions_at(:known_at::timestamptz, :portfolio, :security) k
    JOIN portfolios f USING (portfolio_id)
    JOIN instruments i USING (security_id)
    WHERE (:portfolio::text IS NULL OR k.portfolio_id = :portfolio)
      AND (:security::text IS NULL OR k.security_id = :security)
)
SELECT k.portfolio_id, k.security_id, s.date, k.base_currency, k.local_currency,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       k.reprocessing_status, s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.price_date,
       s.fx_rate, s.fx_date, s.market_value_local, s.market_value, s.unrealized_gain_local,
       s.unrealized_gain, s.epoch
FROM positions k
JOIN snapshots_at(:known_at::timestamptz) s
  ON s.position_id = k.position_id AND s.epoch <= k.published_epoch AND s.date <@ k.open_dates
 AND NOT s.date <@ k.hidden
WHERE (:first_date::date IS NULL OR s.date >= :first_date)
  AND (:last_date::date IS NULL OR s.date <= :last_date)
  AND s.date IN (SELECT business_date FROM business_dates
                 UNION SELECT business_date FROM removed_business_dates)
  AND NOT EXISTS (
      SELECT
      FROM snapshots_at(:known_at::timestamptz) n
      WHERE n.position_id = s.position_id AND n.date = s.date
        AND n.epoch > s.epoch AND n.epoch <= k.published_epoch
        AND (:first_date::date IS NULL OR n.date >= :first_date)
        AND (:last_date::date IS NULL OR n.date <= :last_date)
  )
ORDER BY k.portfolio_id, k.security_id, s.date
