-- What the triggers make due of a page's positions, of those on which nothing else is due: a row
-- for each range of dates, and for each group of triggers that affects the position.
--
-- stale_moment: the first commit among those of the group that touch the dates of the position; see
-- invalidate_positions.sql. Where all of the group came with one commit, it is that one. The group
-- with the earliest commit is the first of a position.
SELECT position_id, calendar_no, calendar_revision, revision, horizon, trigger_id, stale_moment,
       lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT p.position_id, p.calendar_no, c.revision AS calendar_revision, p.revision,
           p.frontier_date AS horizon, r.last_trigger_id AS trigger_id,
           COALESCE(first.moment_id, r.moments[1]) AS stale_moment,
           COALESCE(first.at, r.moment_times[1]) AS at,
           unnest(r.dates * p.open_dates
                  * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
               AS dates
    FROM merged_reach(:triggers::bigint[], :firsts::bigint[]) r
    JOIN position_state p ON p.position_id = r.position_id
    JOIN calendars c USING (calendar_no)
    LEFT JOIN LATERAL (
        SELECT t.moment_id, t.at
        FROM unnest(r.moments, r.moment_times, r.moment_dates) AS t (moment_id, at, dates)
        WHERE cardinality(r.moments) > 1
          AND NOT isempty(t.dates * p.open_dates * datemultirange(
              daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
        ORDER BY t.at
        LIMIT 1
    ) first ON true
    WHERE r.position_id > :cursor AND r.position_id <= :last
      AND p.position_id > :cursor AND p.position_id <= :last
      AND CASE WHEN p.staged_epoch = p.epoch AND isempty(p.pending) THEN true END
) due
ORDER BY position_id, at, first_date
