-- The position records of the present histories of the given positions (parallel arrays; NULL: of
-- all), by position and date; see unusable_rows about the limits.
SELECT s.portfolio_id, s.security_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis
FROM position_state s
JOIN position_history h ON h.position_id = s.position_id AND h.valid_to_epoch IS NULL
WHERE (:portfolios::text[] IS NULL
       OR (s.portfolio_id, s.security_id)
           IN (SELECT * FROM unnest(:portfolios, :securities::text[])))
  AND h.position_date BETWEEN DATE '1900-01-01' AND DATE '2200-12-31'
ORDER BY h.position_id, h.position_date
