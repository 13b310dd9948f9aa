-- Insert the calendars of incoming business dates that are new.
INSERT INTO calendars (calendar_id)
SELECT DISTINCT calendar_id FROM incoming ORDER BY 1
ON CONFLICT DO NOTHING
