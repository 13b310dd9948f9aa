SELECT portfolio_id, security_id, date, base_currency, local_currency, valuation_status, reprocessing_status, quantity,
       cost_basis_local, cost_basis, price, price_date, fx_rate, fx_date, market_value_local, market_value,
       unrealized_gain_local, unrealized_gain, epoch
FROM position_valuations
WHERE (:portfolio::text IS NULL OR portfolio_id = :portfolio)
  AND (:security::text IS NULL OR security_id = :security)
  AND (:first_date::date IS NULL OR date >= :first_date)
  AND (:last_date::date IS NULL OR date <= :last_date)
ORDER BY portfolio_id, security_id, date
