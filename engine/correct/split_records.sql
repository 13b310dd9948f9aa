-- Make the table of the position records of a security that a split on :day changes: those from
-- then on, and one on that day of each position whose record began before it.
--
-- A record without a quantity stays as it is. The quotient has at least 10 places, so a new
-- quantity that fits into 10 is exact.
CREATE TEMP TABLE split_records ON COMMIT DROP AS
SELECT r.*, r.quantity * :numerator::numeric = round(
           r.quantity * :numerator::numeric / :denominator::numeric, 10) * :denominator::numeric
       AS is_exact,
       round(r.quantity * :numerator::numeric / :denominator::numeric, 10) AS new_quantity
FROM (
    SELECT p.portfolio_id, p.security_id, h.position_date, h.quantity, h.cost_basis_local,
           h.cost_basis
    FROM position_state p
    JOIN position_history h USING (position_id)
    WHERE p.security_id = :security AND h.valid_to_epoch IS NULL
      AND h.position_date >= :day::date
    UNION ALL
    SELECT p.portfolio_id, p.security_id, :day::date, h.quantity, h.cost_basis_local, h.cost_basis
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT *
        FROM position_history h
        WHERE h.position_id = p.position_id AND h.valid_to_epoch IS NULL
          AND h.position_date <= :day::date
        ORDER BY h.position_date DESC
        LIMIT 1
    ) h
    WHERE p.security_id = :security AND h.position_date < :day::date
) r
WHERE r.quantity <> 0
