-- The dates that readers see now and that the corrected histories do not have any more.
SELECT p.position_id, lower(r) AS first_date, upper(r) - 1 AS last_date
FROM position_state p
CROSS JOIN LATERAL unnest(
    (p.published_open_dates - p.open_dates)
    * datemultirange(daterange(NULL, p.frontier_date, '(]'))) AS r
WHERE p.trigger_id IN (
    SELECT trigger_id FROM reprocessing_triggers WHERE xmin = pg_current_xact_id()::xid)
