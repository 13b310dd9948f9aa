-- Whether a queued trigger, none of whose positions is invalidated yet, affects dates of the live
-- lane. Staging them before its fan-out would stage them twice: a price that arrived before its
-- date was opened would restate that date.
SELECT EXISTS (
    SELECT FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL AND cursor_position_id = 0
      AND (upper_inf(dates) OR upper(dates) > (
          SELECT min(COALESCE(
              (SELECT business_date FROM business_dates d
               WHERE d.calendar_id = c.calendar_id AND d.business_date <= c.opened_through
               ORDER BY business_date DESC
               OFFSET :business_days LIMIT 1),
              '-infinity'))
          FROM calendar_horizons h JOIN calendars c USING (calendar_id))))
