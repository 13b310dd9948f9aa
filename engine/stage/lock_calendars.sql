-- Who changes a calendar's dates takes these locks too: they stay as they are until the frontiers have moved.
SELECT calendar_id FROM calendars WHERE calendar_no IN (SELECT calendar_no FROM staged_positions) ORDER BY calendar_id FOR SHARE
