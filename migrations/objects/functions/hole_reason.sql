-- Return why a date of a position has no value under a published epoch, as docs/valuation.md words
-- it; NULL: nothing was found missing.
--
-- It is called for many rows: its plan is kept, where the session plans each statement anew.
CREATE OR REPLACE FUNCTION hole_reason(concerned bigint, published integer, day date) RETURNS text
LANGUAGE sql STABLE SET plan_cache_mode = force_generic_plan
BEGIN ATOMIC
    SELECT h.reason || ' ' || h.subject || ' ' || day
    FROM position_holes h
    WHERE h.position_id = concerned AND h.epoch <= published
      AND day BETWEEN h.first_date AND h.last_date
    ORDER BY h.epoch DESC
    LIMIT 1;
END;
