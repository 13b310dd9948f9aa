-- As scan_positions, but only of positions that are noted in unstaged_positions. While the
-- calendars are as they were when all positions were scanned, only these can have due dates.
--
-- Each run of noted positions is read by the primary key, and no further than a page: one run can
-- be as long as the table.
WITH horizons AS MATERIALIZED (
    SELECT calendar_no, revision, max(business_date) AS horizon,
           (array_agg(business_date ORDER BY business_date DESC))[:business_days + 1] AS live_floor
    FROM calendars
    JOIN business_dates USING (calendar_id)
    WHERE business_date <= opened_through
    GROUP BY calendar_no, revision
), noted AS MATERIALIZED (
    SELECT unnest(range_agg(int8range(first_position_id, last_position_id, '[]'))) AS ids
    FROM unstaged_positions
    WHERE last_position_id > :cursor
)
SELECT position_id, calendar_no, calendar_revision, revision, staged, frontier_date, horizon,
       lower(open_dates) AS open_first, upper(open_dates) - 1 AS open_last,
       open_dates <> datemultirange(range_merge(open_dates)) AS is_split
FROM noted
CROSS JOIN LATERAL (
    SELECT p.position_id, p.calendar_no, c.revision AS calendar_revision, p.revision,
           p.staged_epoch = p.epoch AS staged, p.frontier_date, c.horizon, p.open_dates
    FROM position_state p
    JOIN horizons c USING (calendar_no)
    WHERE p.position_id >= GREATEST(lower(noted.ids), :cursor + 1)
      AND p.position_id < upper(noted.ids)
      AND CASE WHEN p.frontier_date <= c.horizon
               THEN p.staged_epoch <> p.epoch OR p.frontier_date < c.horizon
               ELSE p.frontier_date IS NULL END
      AND (p.staged_epoch = p.epoch AND p.frontier_date >= c.live_floor) IS NOT TRUE
    ORDER BY p.position_id
    LIMIT :limit
) due
ORDER BY position_id
LIMIT :limit
