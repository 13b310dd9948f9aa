-- The greatest trigger id that there is; 0: there is none.
SELECT COALESCE(max(trigger_id), 0) FROM reprocessing_triggers
