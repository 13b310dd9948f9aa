-- Record what one page has done for its triggers: the cursor and the positions invalidated.
--
-- fanned_out_moment: until then readers call the affected positions IN_PROGRESS.
UPDATE reprocessing_triggers
SET cursor_position_id = COALESCE(:cursor::bigint, cursor_position_id),
    positions_invalidated = positions_invalidated + :invalidated,
    fanned_out_at = CASE WHEN :finished::boolean THEN clock_timestamp() END,
    fanned_out_moment = CASE WHEN :finished::boolean THEN (SELECT current_moment()) END
WHERE trigger_id = ANY (:triggers::bigint[])
