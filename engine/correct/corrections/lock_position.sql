-- Lock a position until its correction commits.
SELECT position_id
FROM position_state
WHERE portfolio_id = :portfolio AND security_id = :security
FOR UPDATE
