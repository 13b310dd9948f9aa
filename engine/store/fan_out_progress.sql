UPDATE reprocessing_triggers
SET cursor_position_id = COALESCE(:cursor::bigint, cursor_position_id),
    keys_raised = keys_raised + :raised,
    fanned_out_at = CASE WHEN :finished::boolean THEN clock_timestamp() END
WHERE trigger_id = ANY (:triggers::bigint[])
