-- What the keys of a page come to owe by the triggers, of those keys that owe nothing else. firsts: see fan_out_queue. LEFT JOIN
-- though each finds its own, here and in fan_out_keys: the planner would expect one in two hundred to, and then loop.
SELECT position_id, calendar_no, calendar_revision, revision, horizon, trigger_id, first_trigger_id,
       lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT p.position_id, p.calendar_no, c.revision AS calendar_revision, p.revision, p.frontier_date AS horizon,
           max(m.last_trigger_id) AS trigger_id, min(m.first_trigger_id) AS first_trigger_id,
           unnest(range_agg(m.dates) * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]'))
                  * p.open_dates) AS dates
    FROM trigger_reach r
    LEFT JOIN (
        SELECT min(trigger_id) AS first_trigger_id, max(trigger_id) AS last_trigger_id, range_agg(dates) AS dates
        FROM reprocessing_triggers
        WHERE trigger_id = ANY (:triggers::bigint[])
        GROUP BY kind, security_id, base_currency, quote_currency, calendar_id
    ) m ON m.first_trigger_id = r.trigger_id
    JOIN position_state p ON p.position_id = r.position_id
    JOIN calendars c USING (calendar_no)
    WHERE r.trigger_id = ANY (:firsts::bigint[])
      AND r.position_id > :cursor AND r.position_id <= :last AND p.position_id > :cursor AND p.position_id <= :last
      AND CASE WHEN p.staged_epoch = p.epoch AND isempty(p.pending) THEN true END
    GROUP BY p.position_id, c.calendar_id
) owed
ORDER BY position_id
