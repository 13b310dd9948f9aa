-- Invalidate the positions whose history changes at or before their frontier: record one trigger,
-- raise their epochs, and mark the affected dates as due (pending). Return the trigger (NULL: there
-- are no such positions) and their number.
--
-- stale_moment is the first correction that the next publication answers: a position that is
-- already reprocessing keeps the earlier one.
WITH recorded AS (
    INSERT INTO reprocessing_triggers (kind, dates, fanned_out_at, positions_invalidated)
    SELECT 'POSITION', range_agg(affected), clock_timestamp(), count(*)
    FROM changed_positions
    WHERE is_correction
    HAVING count(*) > 0
    RETURNING trigger_id, moment_id
), corrected AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        history_epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = t.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN t.moment_id
                            ELSE p.stale_moment END,
        invalidated_moment = CASE WHEN p.published_epoch = p.epoch THEN t.moment_id
                                  ELSE p.invalidated_moment END,
        open_dates = c.open_dates,
        pending = (p.pending
                   + c.affected * datemultirange(daterange(NULL, p.frontier_date, '(]')))
                  * c.open_dates,
        holes = CASE WHEN isempty(p.holes) THEN '{}'
                     ELSE trimmed_holes(
                         p.calendar_no, (p.holes - c.affected) * c.open_dates) END
    FROM changed_positions c, recorded t
    WHERE p.position_id = c.position_id AND c.is_correction
    RETURNING p.position_id
), noted AS (
    INSERT INTO unstaged_positions (first_position_id, last_position_id)
    SELECT lower(ids), upper(ids) - 1
    FROM (SELECT unnest(range_agg(int8range(position_id, position_id, '[]'))) AS ids
          FROM corrected) runs
)
SELECT (SELECT trigger_id FROM recorded) AS trigger_id,
       (SELECT count(*) FROM corrected) AS positions_corrected
