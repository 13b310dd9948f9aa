-- Leave the proposed positions of these calendars for a later scan, together with their jobs.
DELETE FROM staged_positions WHERE calendar_no = ANY (:calendars::smallint[])
