-- Wait for the locks of these calendars, as lock_calendars does not. For who holds them to be seen.
SELECT FROM calendars WHERE calendar_id = ANY (:calendars::text[]) ORDER BY calendar_id FOR SHARE
