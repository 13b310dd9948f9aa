-- The reached positions, with what stage/scan_positions.sql and value/positions_between.sql read of
-- a position. At most :limit.
SELECT p.position_id, p.portfolio_id, p.security_id, f.base_currency, p.calendar_no, p.epoch,
       r.frontier_date, r.horizon, false AS staged,
       lower(p.open_dates) AS open_first, upper(p.open_dates) - 1 AS open_last,
       p.open_dates <> datemultirange(range_merge(p.open_dates)) AS is_split,
       i.instrument_no, c.currency_no AS local_no, p.base_currency_no AS base_no
FROM reached_positions r
JOIN position_state p USING (position_id)
JOIN portfolios f USING (portfolio_id)
JOIN instruments i USING (security_id)
JOIN currencies c ON c.currency = i.currency
ORDER BY p.position_id
LIMIT :limit
