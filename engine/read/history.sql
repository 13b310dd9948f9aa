SELECT date, valuation_status, quantity, cost_basis_local, cost_basis, price, price_date, fx_rate, fx_date,
       market_value_local, market_value, unrealized_gain_local, unrealized_gain, epoch
FROM position_valuations
WHERE portfolio_id = :portfolio AND security_id = :security AND date > :after AND date BETWEEN :first_date AND :last_date
ORDER BY date
LIMIT :most
