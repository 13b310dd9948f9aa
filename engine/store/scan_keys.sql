SELECT p.position_id, c.calendar_no, p.epoch, p.revision, p.staged_epoch = p.epoch AS staged, p.frontier_date, h.horizon
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN calendars c USING (calendar_id)
JOIN (SELECT calendar_id, max(business_date) AS horizon FROM business_dates GROUP BY calendar_id) h USING (calendar_id)
WHERE p.position_id > :cursor
  AND (p.staged_epoch <> p.epoch OR p.frontier_date IS NULL OR p.frontier_date < h.horizon)
ORDER BY p.position_id
LIMIT :most
