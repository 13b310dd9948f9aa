-- The positions that the triggers of this transaction invalidate, in a table until the transaction
-- ends: the dates that would be pending, the frontier, the horizon, and dates that are withdrawn.
--
-- What the fan-out (fan_out/invalidate_positions.sql) would write to them is computed here, and not
-- written: writing it costs more than all else, and locks the positions.
-- A corrected position is invalidated already, by the correction itself.
CREATE TEMP TABLE reached_positions ON COMMIT DROP AS
WITH reach AS (
    SELECT position_id, range_agg(dates) AS dates, range_agg(withdrawn) AS withdrawn
    FROM merged_reach(:triggers::bigint[], :firsts::bigint[])
    GROUP BY position_id
), invalidated AS (
    SELECT p.position_id, h.horizon,
           CASE WHEN isempty(r.withdrawn) THEN p.frontier_date
                ELSE LEAST(p.frontier_date, h.horizon) END AS frontier_date,
           (p.pending
            + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates)
           * CASE WHEN isempty(r.withdrawn) THEN '{(,)}'
                  ELSE datemultirange(daterange(NULL, h.horizon, '(]')) END AS pending,
           r.withdrawn * datemultirange(daterange(NULL, p.frontier_date, '(]')) AS withdrawn
    FROM reach r
    JOIN position_state p USING (position_id)
    JOIN calendars c USING (calendar_no)
    LEFT JOIN calendar_horizons h USING (calendar_id)
    WHERE NOT isempty(
        (r.dates * p.open_dates + r.withdrawn)
        * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
)
SELECT position_id, horizon, frontier_date, pending, withdrawn FROM invalidated
UNION ALL
SELECT p.position_id, h.horizon, p.frontier_date, p.pending, '{}'
FROM position_state p
JOIN calendars c USING (calendar_no)
LEFT JOIN calendar_horizons h USING (calendar_id)
WHERE cardinality(:corrected::bigint[]) > 0 AND p.trigger_id = ANY (:corrected::bigint[])
  AND p.position_id NOT IN (SELECT position_id FROM invalidated)
