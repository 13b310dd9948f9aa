-- What readers see now in the previewed ranges.
SELECT DISTINCT ON (s.position_id, s.date)
       s.position_id, s.date, s.market_value, s.unrealized_gain
FROM previewed_ranges r
JOIN position_state p USING (position_id)
JOIN daily_position_snapshots s
  ON s.position_id = r.position_id AND s.date BETWEEN r.first_date AND r.last_date
 AND s.epoch <= p.published_epoch
WHERE s.date <@ p.published_open_dates
ORDER BY s.position_id, s.date, s.epoch DESC
