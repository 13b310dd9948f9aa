-- What the triggers make due of a page's positions, of those on which nothing else is due.
SELECT position_id, calendar_no, calendar_revision, revision, horizon, trigger_id,
       first_trigger_id, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT p.position_id, p.calendar_no, c.revision AS calendar_revision, p.revision,
           p.frontier_date AS horizon, max(r.last_trigger_id) AS trigger_id,
           min(r.first_trigger_id) AS first_trigger_id,
           unnest(range_agg(r.dates)
                  * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]'))
                  * p.open_dates) AS dates
    FROM merged_reach(:triggers::bigint[], :firsts::bigint[]) r
    JOIN position_state p ON p.position_id = r.position_id
    JOIN calendars c USING (calendar_no)
    WHERE r.position_id > :cursor AND r.position_id <= :last
      AND p.position_id > :cursor AND p.position_id <= :last
      AND CASE WHEN p.staged_epoch = p.epoch AND isempty(p.pending) THEN true END
    GROUP BY p.position_id, c.calendar_id
) due
ORDER BY position_id
