-- The id of a position; no row if there is none.
SELECT position_id
FROM position_state
WHERE portfolio_id = :portfolio AND security_id = :security
