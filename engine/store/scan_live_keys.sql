-- Keys that owe only the newest dates: all else of theirs is staged, and they are at most :sessions behind.
SELECT p.position_id, c.calendar_no, c.revision AS calendar_revision, p.epoch, p.revision, true AS staged, p.frontier_date, h.horizon
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN calendars c USING (calendar_id)
JOIN (
    SELECT b.calendar_id, b.horizon,
           (SELECT business_date FROM business_dates d WHERE d.calendar_id = b.calendar_id
            ORDER BY business_date DESC OFFSET :sessions LIMIT 1) AS live_floor
    FROM (SELECT calendar_id, max(business_date) AS horizon FROM business_dates GROUP BY calendar_id) b
) h USING (calendar_id)
WHERE p.position_id > :cursor
  AND p.staged_epoch = p.epoch AND p.frontier_date < h.horizon AND p.frontier_date >= h.live_floor
ORDER BY p.position_id
LIMIT :most
