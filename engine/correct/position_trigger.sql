-- The trigger that invalidated a position last, with the dates that it affects.
SELECT t.trigger_id, t.dates
FROM position_state p JOIN reprocessing_triggers t USING (trigger_id)
WHERE p.portfolio_id = :portfolio AND p.security_id = :security
