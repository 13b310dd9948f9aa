-- The triggers that this transaction has written. merged_reach takes triggers and firsts (see
-- fan_out/queue.sql). corrected: the triggers that have invalidated their positions already.
--
-- after: the last trigger before them. With that said, they are not looked for among all that there
-- ever were.
SELECT COALESCE(array_agg(trigger_id) FILTER (WHERE kind <> 'POSITION'), '{}') AS triggers,
       COALESCE(array_agg(DISTINCT first_trigger_id) FILTER (WHERE kind <> 'POSITION'), '{}')
           AS firsts,
       COALESCE(array_agg(trigger_id) FILTER (WHERE kind = 'POSITION'), '{}') AS corrected
FROM (
    SELECT trigger_id, kind,
           min(trigger_id) OVER (PARTITION BY kind, security_id, base_currency, quote_currency,
                                              calendar_id) AS first_trigger_id
    FROM reprocessing_triggers
    WHERE trigger_id > :after AND xmin = pg_current_xact_id()::xid
) own
