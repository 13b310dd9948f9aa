-- The positions that the triggers of this transaction invalidate, with the dates that would be
-- pending, in a table until the transaction ends.
--
-- What the fan-out (fan_out/invalidate_positions.sql) would write to them is computed here, and not
-- written: writing it costs more than all else, and locks the positions.
-- A corrected position is invalidated already, by the correction itself.
CREATE TEMP TABLE reached_positions ON COMMIT DROP AS
WITH reach AS (
    SELECT position_id, range_agg(dates) AS dates
    FROM merged_reach(:triggers::bigint[], :firsts::bigint[])
    GROUP BY position_id
), invalidated AS (
    SELECT p.position_id,
           p.pending
           + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates
               AS pending
    FROM reach r
    JOIN position_state p USING (position_id)
    WHERE NOT isempty(
        r.dates
        * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]'))
        * p.open_dates)
)
SELECT position_id, pending FROM invalidated
UNION ALL
SELECT position_id, pending
FROM position_state
WHERE cardinality(:corrected::bigint[]) > 0 AND trigger_id = ANY (:corrected::bigint[])
  AND position_id NOT IN (SELECT position_id FROM invalidated)
