-- The valuation horizon of each calendar of which something is opened: the last business date at or
-- before opened_through.
--
-- LIMIT 1 per calendar: one look-up in the index, however many years of dates are loaded.
CREATE OR REPLACE VIEW calendar_horizons AS
SELECT c.calendar_id, b.business_date AS horizon
FROM calendars c
CROSS JOIN LATERAL (
    SELECT d.business_date
    FROM business_dates d
    WHERE d.calendar_id = c.calendar_id AND d.business_date <= c.opened_through
    ORDER BY d.business_date DESC
    LIMIT 1
) b;
