-- A group once begun is finished before another begins, so at most one group has a cursor.
SELECT trigger_id, cursor_position_id
FROM reprocessing_triggers
WHERE fanned_out_at IS NULL
  AND cursor_position_id = (SELECT max(cursor_position_id) FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
ORDER BY trigger_id
LIMIT :most
