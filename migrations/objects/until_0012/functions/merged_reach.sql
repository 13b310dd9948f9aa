-- Return the positions that the given triggers affect, with the dates of all triggers that affect
-- the same positions merged into one.
--
-- triggers: the ids of all triggers. firsts: the first id of each group of triggers that affect the
-- same positions whatever their dates (same kind, security, currencies and calendar). 250
-- corrections of one security find its holders once.
--
-- LEFT JOIN although each first trigger has its group: with an inner join the planner expects one
-- match in two hundred, and then loops over all positions of a page for each.
CREATE OR REPLACE FUNCTION merged_reach(triggers bigint[], firsts bigint[])
RETURNS TABLE (
    position_id bigint, dates datemultirange, first_trigger_id bigint, last_trigger_id bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.position_id, m.dates, m.first_trigger_id, m.last_trigger_id
    FROM trigger_reach r
    LEFT JOIN (
        SELECT min(t.trigger_id) AS first_trigger_id, max(t.trigger_id) AS last_trigger_id,
               range_agg(t.dates) AS dates
        FROM reprocessing_triggers t
        WHERE t.trigger_id = ANY (triggers)
        GROUP BY t.kind, t.security_id, t.base_currency, t.quote_currency, t.calendar_id
    ) m ON m.first_trigger_id = r.trigger_id
    WHERE r.trigger_id = ANY (firsts);
END;
