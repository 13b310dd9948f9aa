-- Insert the calendars of incoming business dates that are new.
--
-- NOT EXISTS, and not ON CONFLICT alone: each row that is proposed takes a number, also one that is
-- not inserted, and a calendar's number is a smallint.
INSERT INTO calendars (calendar_id)
SELECT DISTINCT i.calendar_id
FROM incoming i
WHERE NOT EXISTS (SELECT FROM calendars c WHERE c.calendar_id = i.calendar_id)
ORDER BY 1
ON CONFLICT DO NOTHING
