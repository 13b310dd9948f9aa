-- The positions that a trigger concerns which is not fanned out yet.
--
-- Their stored values may be outdated already, so readers must not call them current. It is judged
-- by what readers see, the published open dates and the opened days, because that is recorded:
-- asked again later about this moment, they get the same answer (queued_positions_at). It is never
-- less than what the fan-out will invalidate. A reader of many rows asks first whether such a
-- trigger exists at all: that question is answered once per statement.
CREATE OR REPLACE VIEW queued_positions AS
SELECT r.position_id
FROM trigger_reach r
JOIN position_state p USING (position_id)
JOIN calendars c USING (calendar_no)
WHERE r.fanned_out_at IS NULL
  AND NOT isempty(
      (r.dates * datemultirange(daterange(NULL, COALESCE(c.opened_through, '-infinity'), '(]'))
       + r.withdrawn)
      * p.published_open_dates);
