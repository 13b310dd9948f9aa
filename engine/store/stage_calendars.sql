-- Who closes a business date takes these locks too: a date that is there now stays until the frontiers have moved onto it.
SELECT calendar_id FROM calendars WHERE calendar_no IN (SELECT calendar_no FROM staged_keys) ORDER BY calendar_id FOR SHARE
