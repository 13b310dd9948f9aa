-- Pause, or leave an existing pause unchanged; returns since when it holds.
UPDATE scheduler_term
SET paused_at = COALESCE(paused_at, clock_timestamp()), paused_by = COALESCE(paused_by, :by)
RETURNING paused_at
