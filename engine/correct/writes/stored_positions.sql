-- Of given positions, those that exist.
SELECT p.security_id, p.portfolio_id
FROM unnest(:portfolios::text[], :securities::text[]) AS g (portfolio_id, security_id)
JOIN position_state p USING (portfolio_id, security_id)
