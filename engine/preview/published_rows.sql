-- What readers see now of each position from its first to its last date.
--
-- The arrays are parallel; days are counted from 1970-01-01. LATERAL, so that each range is looked
-- up in the index: a join is planned as a scan of all snapshots that there are.
SELECT r.position_id, s.date, s.market_value
FROM unnest(:positions::bigint[], :first_days::integer[], :last_days::integer[])
    AS r (position_id, first_day, last_day)
JOIN position_state p USING (position_id)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (s.date) s.date, s.market_value
    FROM daily_position_snapshots s
    WHERE s.position_id = r.position_id
      AND s.date BETWEEN DATE '1970-01-01' + r.first_day AND DATE '1970-01-01' + r.last_day
      AND s.epoch <= p.published_epoch
      AND s.date <@ p.published_open_dates AND NOT s.date <@ p.published_hidden
    ORDER BY s.date, s.epoch DESC
) s
