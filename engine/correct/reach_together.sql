-- The triggers of prices and rates that this transaction has written, and how many positions it
-- affects: those that these triggers reach, and the given ones, whose records it has corrected. A
-- position counts once.
--
-- portfolios, securities: parallel. The triggers are found as in reach.sql.
WITH own AS (
    SELECT trigger_id, dates
    FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL AND xmin = pg_current_xact_id()::xid
), affected AS (
    SELECT r.position_id
    FROM own t
    JOIN trigger_reach r
      ON r.trigger_id = t.trigger_id AND r.trigger_id = ANY (ARRAY(SELECT trigger_id FROM own))
    JOIN position_state p USING (position_id)
    WHERE NOT isempty(
        t.dates * p.open_dates
        * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
    UNION
    SELECT p.position_id
    FROM unnest(:portfolios::text[], :securities::text[]) AS n (portfolio_id, security_id)
    JOIN position_state p USING (portfolio_id, security_id)
)
SELECT COALESCE((SELECT array_agg(trigger_id ORDER BY trigger_id) FROM own), '{}') AS trigger_ids,
       (SELECT count(*) FROM affected) AS positions
