-- Lock calendars until they are opened; :calendars NULL: all.
--
-- Writers of business dates and other openings take the same lock, so what is read of the calendars
-- after this statement holds until the transaction ends.
SELECT calendar_id
FROM calendars
WHERE :calendars::text[] IS NULL OR calendar_id = ANY (:calendars)
ORDER BY calendar_id
FOR NO KEY UPDATE
