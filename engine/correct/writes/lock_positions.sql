-- Lock the incoming positions, in the order of their ids, so that two loads cannot deadlock.
SELECT p.position_id
FROM position_state p
WHERE (p.portfolio_id, p.security_id) IN (SELECT portfolio_id, security_id FROM incoming)
ORDER BY p.position_id
FOR UPDATE
