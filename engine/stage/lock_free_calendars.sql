-- Keep calendars unchanged until the frontiers of their positions are committed (see
-- lock_calendars). Returns those that no other transaction has locked.
SELECT calendar_no FROM calendars ORDER BY calendar_id FOR SHARE SKIP LOCKED
