-- What readers see now of each position from its first to its last date.
--
-- The arrays are parallel; days are counted from 1970-01-01. Snapshots are sorted by date first, so
-- each date is looked up. In LATERAL: a join is planned as a scan of all snapshots that there are.
-- A position has them on business dates of its calendar only, and on dates that were business dates
-- when they were valued.
SELECT r.position_id, s.date, s.epoch, s.market_value
FROM unnest(:positions::bigint[], :first_days::integer[], :last_days::integer[])
    AS r (position_id, first_day, last_day)
JOIN position_state p USING (position_id)
JOIN calendars c USING (calendar_no)
CROSS JOIN LATERAL (
    SELECT b.business_date AS date FROM business_dates b
    WHERE b.calendar_id = c.calendar_id
      AND b.business_date BETWEEN DATE '1970-01-01' + r.first_day AND DATE '1970-01-01' + r.last_day
    UNION ALL
    SELECT DISTINCT b.business_date FROM removed_business_dates b
    WHERE b.calendar_id = c.calendar_id
      AND b.business_date BETWEEN DATE '1970-01-01' + r.first_day AND DATE '1970-01-01' + r.last_day
      AND NOT EXISTS (SELECT FROM business_dates n
                      WHERE n.calendar_id = b.calendar_id AND n.business_date = b.business_date)
) d
CROSS JOIN LATERAL (
    SELECT v.date, v.epoch, v.market_value
    FROM daily_position_snapshots v
    WHERE v.position_id = r.position_id AND v.date = d.date AND v.epoch <= p.published_epoch
    ORDER BY v.epoch DESC
    LIMIT 1
) s
WHERE d.date <@ p.published_open_dates AND NOT d.date <@ p.published_hidden
