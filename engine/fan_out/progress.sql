UPDATE reprocessing_triggers
SET cursor_position_id = COALESCE(:cursor::bigint, cursor_position_id),
    positions_invalidated = positions_invalidated + :raised,
    fanned_out_at = CASE WHEN :finished::boolean THEN clock_timestamp() END
WHERE trigger_id = ANY (:triggers::bigint[])
