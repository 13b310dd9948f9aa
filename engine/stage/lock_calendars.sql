-- Keep the calendars of the proposed positions unchanged until their frontiers are committed:
-- whoever changes a calendar's dates takes the same locks. Returns the calendars that another
-- transaction has locked.
--
-- Those are skipped and not waited for: whoever holds such a lock may hold it for hours, and only
-- the positions of that calendar have to wait.
WITH free AS (
    SELECT calendar_no
    FROM calendars
    WHERE calendar_no IN (SELECT calendar_no FROM staged_positions)
    ORDER BY calendar_id
    FOR SHARE SKIP LOCKED
)
SELECT calendar_no, calendar_id
FROM calendars
WHERE calendar_no IN (SELECT calendar_no FROM staged_positions)
  AND calendar_no NOT IN (SELECT calendar_no FROM free)
ORDER BY calendar_id
