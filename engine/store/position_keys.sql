-- By security and then portfolio: the holders of a security are then neighbours, on disk and in a task.
INSERT INTO position_state (portfolio_id, security_id)
SELECT DISTINCT i.portfolio_id, i.security_id
FROM incoming i
WHERE NOT EXISTS (SELECT FROM position_state p WHERE p.portfolio_id = i.portfolio_id AND p.security_id = i.security_id)
ORDER BY i.security_id, i.portfolio_id
ON CONFLICT DO NOTHING
