SELECT p.position_id
FROM position_state p
WHERE (p.portfolio_id, p.security_id) IN (SELECT portfolio_id, security_id FROM incoming)
ORDER BY p.position_id
FOR UPDATE
