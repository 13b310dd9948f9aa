-- What the triggers make due of a page's positions, of those on which nothing else is due.
--
-- stale_moment: see invalidate_positions.sql.
SELECT position_id, calendar_no, calendar_revision, revision, horizon, trigger_id, stale_moment,
       lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT r.position_id, r.calendar_no, c.revision AS calendar_revision, r.revision,
           r.frontier_date AS horizon, max(r.last_trigger_id) AS trigger_id,
           (array_agg(r.moment_id ORDER BY r.at))[1] AS stale_moment,
           unnest(range_agg(r.dates)) AS dates
    FROM (
        SELECT p.position_id, p.calendar_no, p.revision, p.frontier_date, r.last_trigger_id,
               first.moment_id, first.at, r.dates * due.dates AS dates
        FROM merged_reach(:triggers::bigint[], :firsts::bigint[]) r
        JOIN position_state p ON p.position_id = r.position_id
        CROSS JOIN LATERAL (
            SELECT p.open_dates
                   * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]'))
                       AS dates
        ) due
        CROSS JOIN LATERAL (
            SELECT t.moment_id, t.at
            FROM unnest(r.moments, r.moment_times, r.moment_dates) AS t (moment_id, at, dates)
            WHERE NOT isempty(t.dates * due.dates)
            ORDER BY t.at
            LIMIT 1
        ) first
        WHERE r.position_id > :cursor AND r.position_id <= :last
          AND p.position_id > :cursor AND p.position_id <= :last
          AND CASE WHEN p.staged_epoch = p.epoch AND isempty(p.pending) THEN true END
    ) r
    JOIN calendars c USING (calendar_no)
    GROUP BY r.position_id, r.calendar_no, c.revision, r.revision, r.frontier_date
) due
ORDER BY position_id
