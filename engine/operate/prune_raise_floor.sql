-- Raise the retention floor; it never falls. Returns it.
--
-- This transaction has a moment. Moments are stamped one at a time, so when it has committed, every
-- moment up to the floor is committed too, and no later one will be before the floor.
INSERT INTO retention (floor)
SELECT :floor::timestamptz WHERE (SELECT current_moment()) IS NOT NULL
ON CONFLICT (singleton) DO UPDATE
SET floor = GREATEST(retention.floor, excluded.floor), raised_at = excluded.raised_at
RETURNING floor
