-- A group once begun is finished before another begins, so at most one group has a cursor. first_trigger_id: of those that
-- reach the same positions, whatever their dates.
SELECT trigger_id, cursor_position_id,
       min(trigger_id) OVER (PARTITION BY kind, security_id, base_currency, quote_currency, calendar_id) AS first_trigger_id
FROM (
    SELECT *
    FROM (
        SELECT *, max(cursor_position_id) OVER () AS farthest
        FROM reprocessing_triggers
        WHERE fanned_out_at IS NULL AND (:only::bigint[] IS NULL OR trigger_id = ANY (:only::bigint[]))
    ) queued
    WHERE cursor_position_id = farthest
    ORDER BY trigger_id
    LIMIT :most
) taken
ORDER BY trigger_id
