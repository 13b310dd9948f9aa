-- The dates of the reached positions that readers see now and that the corrected histories and
-- calendars do not have any more. At most :limit ranges.
SELECT r.position_id, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM reached_positions r
JOIN position_state p USING (position_id)
CROSS JOIN LATERAL unnest(
    (p.published_open_dates - p.open_dates)
    * datemultirange(daterange(NULL, p.frontier_date, '(]'))
    + p.published_open_dates * r.withdrawn) AS dates
LIMIT :limit
