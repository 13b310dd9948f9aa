-- Return the positions that the given triggers affect, with the dates of all triggers that affect
-- the same positions merged into one.
--
-- triggers: the ids of all triggers. firsts: the first id of each group of triggers that affect the
-- same positions whatever their dates (same kind, security, currencies and calendar). 250
-- corrections of one security find its holders once.
-- moments, moment_times, moment_dates: parallel; which dates of the group came with which commit.
--
-- LEFT JOIN although each first trigger has its group: with an inner join the planner expects one
-- match in two hundred, and then loops over all positions of a page for each.
CREATE OR REPLACE FUNCTION merged_reach(triggers bigint[], firsts bigint[])
RETURNS TABLE (
    position_id bigint, dates datemultirange, withdrawn datemultirange, last_trigger_id bigint,
    moments bigint[], moment_times timestamptz[], moment_dates datemultirange[])
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.position_id, m.dates, m.withdrawn, m.last_trigger_id, m.moments, m.moment_times,
           m.moment_dates
    FROM trigger_reach r
    LEFT JOIN (
        SELECT min(c.first_trigger_id) AS first_trigger_id,
               max(c.last_trigger_id) AS last_trigger_id, range_agg(c.dates) AS dates,
               range_agg(c.withdrawn) AS withdrawn, array_agg(c.moment_id) AS moments,
               array_agg(COALESCE(w.at, '-infinity')) AS moment_times,
               array_agg(c.dates) AS moment_dates
        FROM (
            SELECT min(t.trigger_id) AS first_trigger_id, max(t.trigger_id) AS last_trigger_id,
                   t.kind, t.security_id, t.base_currency, t.quote_currency, t.calendar_id,
                   t.moment_id, range_agg(t.dates) AS dates, range_agg(t.withdrawn) AS withdrawn
            FROM reprocessing_triggers t
            WHERE t.trigger_id = ANY (triggers)
            GROUP BY t.kind, t.security_id, t.base_currency, t.quote_currency, t.calendar_id,
                     t.moment_id
        ) c
        LEFT JOIN moments w ON w.moment_id = c.moment_id
        GROUP BY c.kind, c.security_id, c.base_currency, c.quote_currency, c.calendar_id
    ) m ON m.first_trigger_id = r.trigger_id
    WHERE r.trigger_id = ANY (firsts);
END;
