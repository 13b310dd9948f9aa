-- The triggers of prices and rates that this transaction has written, the dates that they affect,
-- and how many positions they affect.
--
-- They are queued: with that said, they are looked for among the few that are, by an index, and not
-- among all that there ever were. Their ids are an array for the same reason: of a CTE the planner
-- expects many, and would join all triggers with all positions.
WITH own AS (
    SELECT trigger_id, dates
    FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL AND xmin = pg_current_xact_id()::xid
)
SELECT COALESCE((SELECT array_agg(trigger_id ORDER BY trigger_id) FROM own), '{}') AS trigger_ids,
       COALESCE((SELECT range_agg(dates) FROM own), '{}') AS dates,
       (SELECT count(DISTINCT r.position_id)
        FROM own t
        JOIN trigger_reach r
          ON r.trigger_id = t.trigger_id AND r.trigger_id = ANY (ARRAY(SELECT trigger_id FROM own))
        JOIN position_state p USING (position_id)
        WHERE NOT isempty(
            t.dates * p.open_dates
            * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
       ) AS positions
