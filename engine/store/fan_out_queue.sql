-- A group once begun is finished before another begins, so at most one group has a cursor.
WITH queued AS (
    SELECT trigger_id, cursor_position_id
    FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL AND (:only::bigint[] IS NULL OR trigger_id = ANY (:only::bigint[]))
)
SELECT trigger_id, cursor_position_id
FROM queued
WHERE cursor_position_id = (SELECT max(cursor_position_id) FROM queued)
ORDER BY trigger_id
LIMIT :most
