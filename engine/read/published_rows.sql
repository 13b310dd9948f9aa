-- The published rows of a portfolio, of the given securities (NULL: of all), in the columns of
-- row_valuation.ExpectedRow. In byte order of the names, as Python sorts them.
--
-- All snapshots have a date that is or was a business date: with that said, those of a few
-- positions are looked up date by date, as the primary key has them.
SELECT portfolio_id, security_id, date, quantity, cost_basis_local, cost_basis, price, price_date,
       fx_rate, fx_date, fx_path, market_value_local, market_value, unrealized_gain_local,
       unrealized_gain, price_effect, fx_effect, valuation_status
FROM position_valuations
WHERE portfolio_id = :portfolio
  AND (:securities::text[] IS NULL OR security_id = ANY (:securities))
  AND date IN (SELECT business_date FROM business_dates
               UNION SELECT business_date FROM removed_business_dates)
ORDER BY security_id COLLATE "C", date
