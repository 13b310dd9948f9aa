-- Add a closing record to the incoming rows, which are the complete holding of their portfolios on
-- :date, for each position that these portfolios hold on it and that the rows leave out. Return the
-- records that were in force.
--
-- The subquery is lateral, so that it is an index look-up per position.
WITH left_out AS (
    SELECT p.portfolio_id, p.security_id, h.position_date, h.quantity, h.cost_basis_local,
           h.cost_basis
    FROM position_state p
    CROSS JOIN LATERAL (
        SELECT *
        FROM position_history h
        WHERE h.position_id = p.position_id AND h.valid_to_epoch IS NULL
          AND h.position_date <= :date::date
        ORDER BY h.position_date DESC
        LIMIT 1
    ) h
    WHERE p.portfolio_id IN (SELECT portfolio_id FROM incoming)
      AND NOT EXISTS (
          SELECT FROM incoming i
          WHERE i.portfolio_id = p.portfolio_id AND i.security_id = p.security_id)
      AND h.quantity <> 0
), closed AS (
    INSERT INTO incoming
        (portfolio_id, security_id, position_date, quantity, cost_basis_local, cost_basis)
    SELECT portfolio_id, security_id, :date::date, 0, 0, 0
    FROM left_out
)
SELECT * FROM left_out ORDER BY portfolio_id, security_id
