-- The triggers that this transaction has written.
SELECT COALESCE(array_agg(trigger_id), '{}') AS trigger_ids
FROM reprocessing_triggers
WHERE xmin = pg_current_xact_id()::xid
