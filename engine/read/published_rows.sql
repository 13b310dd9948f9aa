-- The published rows of the given positions (parallel arrays; NULL: of all), in the columns of
-- row_valuation.ExpectedRow. In byte order of the names, as Python sorts them.
--
-- One statement for all: a portfolio has rows in every month, so to read one portfolio after the
-- other could read every month for each.
-- All snapshots have a date that is or was a business date: with that said, those of a few
-- positions are looked up date by date, as the primary key has them.
SELECT portfolio_id, security_id, date, quantity, cost_basis_local, cost_basis, price, price_date,
       fx_rate, fx_date, fx_path, market_value_local, market_value, unrealized_gain_local,
       unrealized_gain, price_effect, fx_effect, valuation_status, epoch
FROM postgres_valuations
WHERE (:portfolios::text[] IS NULL
       OR (portfolio_id, security_id) IN (
           SELECT * FROM unnest(:portfolios::text[], :securities::text[])))
  AND date IN (SELECT business_date FROM business_dates
               UNION SELECT business_date FROM removed_business_dates)
ORDER BY portfolio_id COLLATE "C", security_id COLLATE "C", date
