-- The group of queued triggers to fan out next: the one that was begun, else the oldest triggers.
--
-- A group that was begun is finished before another one begins, so at most one has a cursor.
-- withdraws: it takes dates out of the calendar or closes them again.
-- first_trigger_id: the first trigger of the group that affects the same positions, whatever its
-- dates.
SELECT trigger_id, cursor_position_id, NOT isempty(withdrawn) AS withdraws,
       min(trigger_id) OVER (PARTITION BY kind, security_id, base_currency, quote_currency,
                                          calendar_id) AS first_trigger_id
FROM (
    SELECT *
    FROM (
        SELECT *, max(cursor_position_id) OVER () AS farthest
        FROM reprocessing_triggers
        WHERE fanned_out_at IS NULL
    ) queued
    WHERE cursor_position_id = farthest
    ORDER BY trigger_id
    LIMIT :limit
) taken
ORDER BY trigger_id
