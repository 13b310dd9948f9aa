-- The next :limit positions after :cursor on which dates are due, of one lane.
--
-- The live lane (:live 1) has the positions of which only the newest dates are due: all other dates
-- are staged, and they are at most :business_days behind. Each position is in exactly one lane.
-- The horizon is the last business date that is opened; nothing is due where there is none.
-- is_split: the position is open more than once; scan_open_dates reads its spans.
-- A position whose frontier is after the horizon waits for the fan-out that takes it back.
-- CASE lets the planner estimate half of the positions. It would estimate few, and sort all of them
-- for each page.
SELECT position_id, calendar_no, calendar_revision, revision, staged, frontier_date, horizon,
       lower(open_dates) AS open_first, upper(open_dates) - 1 AS open_last,
       open_dates <> datemultirange(range_merge(open_dates)) AS is_split
FROM (
    SELECT p.position_id, p.calendar_no, c.revision AS calendar_revision, p.revision,
           p.staged_epoch = p.epoch AS staged, p.frontier_date, c.horizon, p.open_dates,
           p.staged_epoch = p.epoch AND p.frontier_date >= c.live_floor AS is_live
    FROM position_state p
    JOIN (
        SELECT calendar_no, revision, max(business_date) AS horizon,
               (array_agg(business_date ORDER BY business_date DESC))[:business_days + 1]
                   AS live_floor
        FROM calendars
        JOIN business_dates USING (calendar_id)
        WHERE business_date <= opened_through
        GROUP BY calendar_no, revision
    ) c USING (calendar_no)
    WHERE p.position_id > :cursor
      AND CASE WHEN p.frontier_date <= c.horizon
               THEN p.staged_epoch <> p.epoch OR p.frontier_date < c.horizon
               ELSE p.frontier_date IS NULL END
) due
WHERE CASE WHEN is_live IS TRUE THEN :live::integer = 1 ELSE :live::integer = 0 END
ORDER BY position_id
LIMIT :limit
