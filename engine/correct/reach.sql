-- The triggers that this transaction has written, the dates that they affect, and how many
-- positions they affect.
WITH own AS (
    SELECT trigger_id, dates FROM reprocessing_triggers WHERE xmin = pg_current_xact_id()::xid
)
SELECT COALESCE((SELECT array_agg(trigger_id ORDER BY trigger_id) FROM own), '{}') AS trigger_ids,
       COALESCE((SELECT range_agg(dates) FROM own), '{}') AS dates,
       (SELECT count(DISTINCT r.position_id)
        FROM own t
        JOIN trigger_reach r USING (trigger_id)
        JOIN position_state p USING (position_id)
        WHERE NOT isempty(
            t.dates * p.open_dates
            * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
       ) AS positions
