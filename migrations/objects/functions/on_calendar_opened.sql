-- Check a change of calendars.opened_through, record it in calendar_openings, and correct what was
-- valued on days that it closes again.
--
-- The row is locked, and every writer of business dates locks it too, so the dates that are seen
-- here are those that the opening is for. The revision is raised, so that what was scanned before
-- the change is not staged after it. Moving back withdraws the days after the new date: the fan-out
-- takes the frontiers back, under a new epoch.
CREATE OR REPLACE FUNCTION on_calendar_opened() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    earlier date;
    later date;
BEGIN
    IF NEW.opened_through IS NOT DISTINCT FROM OLD.opened_through THEN
        RETURN NEW;
    END IF;
    IF NEW.opened_through IS NULL THEN
        RAISE EXCEPTION 'calendar % is opened through %: it cannot be closed as a whole',
            NEW.calendar_id, OLD.opened_through
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Move it back to a business date.';
    END IF;
    SELECT max(business_date) FILTER (WHERE business_date <= NEW.opened_through),
           min(business_date) FILTER (WHERE business_date > NEW.opened_through)
    INTO earlier, later
    FROM business_dates WHERE calendar_id = NEW.calendar_id;
    IF earlier IS DISTINCT FROM NEW.opened_through THEN
        RAISE EXCEPTION
            '% is not a business date of calendar %: the one before it is %, the one after it is %',
            NEW.opened_through, NEW.calendar_id,
            COALESCE(earlier::text, 'none'), COALESCE(later::text, 'none')
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Open through one of these, or load the business date first.';
    END IF;
    IF NEW.opened_through < OLD.opened_through THEN
        INSERT INTO reprocessing_triggers (kind, calendar_id, moment_id, dates, withdrawn)
        SELECT 'CALENDAR', NEW.calendar_id, (SELECT current_moment()), closed, closed
        FROM (SELECT datemultirange(daterange(NEW.opened_through, OLD.opened_through, '(]'))) AS d
            (closed);
    END IF;
    INSERT INTO calendar_openings (calendar_id, opened_through)
    VALUES (NEW.calendar_id, NEW.opened_through);
    NEW.revision := NEW.revision + 1;
    NOTIFY revalue_wake;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION on_calendar_opened FROM PUBLIC;
