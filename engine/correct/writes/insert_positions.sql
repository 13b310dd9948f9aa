-- Insert the incoming positions that are new.
--
-- By security and then portfolio: the holders of a security are then neighbours, on disk and in a
-- task.
INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no)
SELECT i.portfolio_id, i.security_id, c.calendar_no, b.currency_no
FROM (SELECT DISTINCT portfolio_id, security_id FROM incoming) i
JOIN portfolios f USING (portfolio_id)
JOIN calendars c USING (calendar_id)
JOIN currencies b ON b.currency = f.base_currency
WHERE NOT EXISTS (
    SELECT FROM position_state p
    WHERE p.portfolio_id = i.portfolio_id AND p.security_id = i.security_id)
ORDER BY i.security_id, i.portfolio_id
ON CONFLICT DO NOTHING
