-- Make the table of the position records of a security that a split on :day changes: those from
-- then on, and one on that day of each position whose record began before it.
--
-- A record without a quantity stays as it is. The quotient has at least 10 places, so a new
-- quantity that fits into 10 is exact. A record whose quantity is the one in force before it times
-- the ratio is probably in new shares already (is_split).
CREATE TEMP TABLE split_records ON COMMIT DROP AS
SELECT portfolio_id, security_id, GREATEST(position_date, :day::date) AS position_date, quantity,
       cost_basis_local, cost_basis,
       quantity * :numerator::numeric = round(
           quantity * :numerator::numeric / :denominator::numeric, 10) * :denominator::numeric
       AS is_exact,
       round(quantity * :numerator::numeric / :denominator::numeric, 10) AS new_quantity,
       COALESCE(
           position_date >= :day::date
           AND quantity * :denominator::numeric = quantity_before * :numerator::numeric, false)
       AS is_split
FROM (
    SELECT r.*,
           lag(quantity) OVER of_position AS quantity_before,
           lead(position_date) OVER of_position AS next_date
    FROM (
        SELECT p.portfolio_id, p.security_id, h.position_date, h.quantity, h.cost_basis_local,
               h.cost_basis
        FROM position_state p
        JOIN position_history h USING (position_id)
        WHERE p.security_id = :security AND h.valid_to_epoch IS NULL
          AND h.position_date >= :day::date
        UNION ALL
        SELECT p.portfolio_id, p.security_id, h.position_date, h.quantity, h.cost_basis_local,
               h.cost_basis
        FROM position_state p
        CROSS JOIN LATERAL (
            SELECT *
            FROM position_history h
            WHERE h.position_id = p.position_id AND h.valid_to_epoch IS NULL
              AND h.position_date < :day::date
            ORDER BY h.position_date DESC
            LIMIT 1
        ) h
        WHERE p.security_id = :security
    ) r
    WINDOW of_position AS (PARTITION BY portfolio_id ORDER BY position_date)
) r
WHERE quantity <> 0
  AND (position_date >= :day::date OR next_date IS DISTINCT FROM :day::date)
