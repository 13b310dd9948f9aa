-- The positions that the triggers of this transaction have invalidated.
SELECT p.position_id, p.portfolio_id, p.security_id, f.base_currency
FROM position_state p JOIN portfolios f USING (portfolio_id)
WHERE p.trigger_id IN (
    SELECT trigger_id FROM reprocessing_triggers WHERE xmin = pg_current_xact_id()::xid)
ORDER BY p.position_id
