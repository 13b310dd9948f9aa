-- The bounds of the next :limit positions after :cursor that are in the live lane (see
-- scan_positions): of which only the newest dates are due. NULL where there are none. days: the
-- largest number of business days that is due of one of them.
SELECT min(position_id) AS first_position, max(position_id) AS last_position,
       count(*) AS positions, max(array_position(newest, frontier_date)) - 1 AS days
FROM (
    SELECT p.position_id, p.frontier_date, c.newest
    FROM position_state p
    JOIN (
        SELECT calendar_no, max(business_date) AS horizon,
               (array_agg(business_date ORDER BY business_date DESC))[:business_days + 1]
                   AS live_floor,
               (array_agg(business_date ORDER BY business_date DESC))[1 : :business_days + 1]
                   AS newest
        FROM calendars
        JOIN business_dates USING (calendar_id)
        WHERE business_date <= opened_through
        GROUP BY calendar_no
    ) c USING (calendar_no)
    WHERE p.position_id > :cursor
      AND CASE WHEN p.frontier_date < c.horizon
               THEN p.staged_epoch = p.epoch AND p.frontier_date >= c.live_floor
               ELSE false END
    ORDER BY p.position_id
    LIMIT :limit
) live
