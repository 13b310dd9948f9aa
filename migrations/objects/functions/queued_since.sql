-- Return the first commit among the triggers that concern a position and are queued (known_at NULL)
-- or were queued at a past time; NULL: there is none.
--
-- Judged as in queued_positions, by what is or was published and opened. The conversions of a
-- security from a currency count since it was first quoted in it.
--
-- It is called for many rows: its plan is kept, where the session plans each statement anew.
CREATE OR REPLACE FUNCTION queued_since(concerned bigint, known_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET plan_cache_mode = force_generic_plan
BEGIN ATOMIC
    SELECT min(q.at)
    FROM position_state p
    JOIN calendars c USING (calendar_no)
    CROSS JOIN LATERAL (
        SELECT t.trigger_id, COALESCE(m.at, t.created_at) AS at,
               p.published_open_dates AS open_dates, c.opened_through
        FROM reprocessing_triggers t
        LEFT JOIN moments m ON m.moment_id = t.moment_id
        WHERE known_at IS NULL AND t.fanned_out_at IS NULL
        UNION ALL
        SELECT t.trigger_id, t.at, u.open_dates, opened_through_at(c.calendar_id, known_at)
        FROM queued_triggers_at(known_at) t
        CROSS JOIN LATERAL (
            SELECT w.open_dates
            FROM publications w JOIN moments m ON m.moment_id = w.moment_id
            WHERE w.position_id = p.position_id AND m.at <= known_at
            ORDER BY m.at DESC
            LIMIT 1
        ) u
        WHERE known_at IS NOT NULL
    ) q
    JOIN trigger_reach r ON r.trigger_id = q.trigger_id AND r.position_id = p.position_id
    WHERE p.position_id = concerned
      AND (r.quote_moment IS NULL OR known_at IS NULL
           OR (SELECT m.at FROM moments m WHERE m.moment_id = r.quote_moment) <= known_at)
      AND NOT isempty(
          (r.dates * datemultirange(daterange(NULL, COALESCE(q.opened_through, '-infinity'), '(]'))
           + r.withdrawn)
          * q.open_dates);
END;
