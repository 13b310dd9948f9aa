-- The positions that a trigger will invalidate which is not fanned out yet.
--
-- Their stored values may be outdated already, so readers must not call them current. A reader of
-- many rows asks first whether such a trigger exists at all: that question is answered once per
-- statement. COALESCE: a position that was never scheduled has no values that a trigger could make
-- wrong, and without it a range up to a NULL frontier would be endless instead of empty.
CREATE OR REPLACE VIEW queued_positions AS
SELECT r.position_id
FROM trigger_reach r JOIN position_state p USING (position_id)
WHERE r.fanned_out_at IS NULL
  AND NOT isempty(
      r.dates * p.open_dates
      * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')));
