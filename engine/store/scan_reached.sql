-- What the keys of a page come to owe by the triggers, of those keys that owe nothing else.
SELECT r.position_id, c.calendar_no, p.revision, p.frontier_date AS horizon, lower(d) AS first_date, upper(d) - 1 AS last_date
FROM (
    SELECT position_id, range_agg(dates) AS dates
    FROM trigger_reach
    WHERE trigger_id = ANY (:triggers::bigint[]) AND position_id > :cursor AND position_id <= :last
    GROUP BY position_id
) r
JOIN position_state p USING (position_id)
JOIN portfolios f USING (portfolio_id)
JOIN calendars c USING (calendar_id)
CROSS JOIN LATERAL unnest(
    r.dates * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')) * p.open_dates) AS d
WHERE isempty(p.pending) AND p.staged_epoch = p.epoch
ORDER BY r.position_id
