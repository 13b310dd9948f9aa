-- Keep the calendars of the proposed positions unchanged until their frontiers are committed:
-- whoever changes a calendar's dates takes the same locks.
SELECT calendar_id
FROM calendars
WHERE calendar_no IN (SELECT calendar_no FROM staged_positions)
ORDER BY calendar_id
FOR SHARE
