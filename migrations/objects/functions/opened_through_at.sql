-- Return through which date a calendar was opened at a past time; NULL: nothing was opened.
--
-- Openings of one calendar follow each other, because each locks its row. An opening without a
-- moment is older than moments are.
CREATE OR REPLACE FUNCTION opened_through_at(calendar text, known_at timestamptz) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT o.opened_through
    FROM calendar_openings o
    LEFT JOIN moments m ON m.moment_id = o.moment_id
    WHERE o.calendar_id = calendar AND COALESCE(m.at, '-infinity') <= known_at
    ORDER BY o.opening_id DESC
    LIMIT 1;
END;
