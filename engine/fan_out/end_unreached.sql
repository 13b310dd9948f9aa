-- End the queued triggers that can invalidate no position, all in one statement. Returns them.
--
-- A trigger invalidates positions on scheduled dates only. None of its dates is scheduled if they
-- are all after the last opened day of every calendar, as of the prices that are loaded before
-- their day is opened; if no position has its security; or if nothing was ever scheduled, as while
-- a book is loaded. What is scheduled later is valued with what was written, as this snapshot shows
-- that. A frontier is after what is opened only while the trigger is queued that takes it back.
-- A group that was begun is finished by its pages.
UPDATE reprocessing_triggers t
SET fanned_out_at = clock_timestamp(), fanned_out_moment = (SELECT current_moment())
WHERE t.fanned_out_at IS NULL AND t.cursor_position_id = 0 AND isempty(t.withdrawn)
  AND CASE
      WHEN (SELECT EXISTS (SELECT FROM reprocessing_triggers w
                           WHERE w.fanned_out_at IS NULL AND NOT isempty(w.withdrawn)))
      THEN false
      WHEN lower(t.dates) > (SELECT COALESCE(max(opened_through), '-infinity') FROM calendars)
      THEN true
      WHEN t.kind IN ('PRICE', 'INSTRUMENT')
           AND NOT EXISTS (SELECT FROM position_state p WHERE p.security_id = t.security_id)
      THEN true
      ELSE NOT (SELECT EXISTS (SELECT FROM position_state WHERE frontier_date IS NOT NULL))
      END
RETURNING t.trigger_id
