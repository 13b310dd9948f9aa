-- Whether a queued trigger affects dates of the live lane, begun or not. What is staged before the
-- fan-out has passed it is staged twice: a price that arrived before its date was opened would
-- restate that date.
SELECT EXISTS (
    SELECT FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL
      AND (upper_inf(dates) OR upper(dates) > (
          SELECT min(COALESCE(
              (SELECT business_date FROM business_dates d
               WHERE d.calendar_id = c.calendar_id AND d.business_date <= c.opened_through
               ORDER BY business_date DESC
               OFFSET :business_days LIMIT 1),
              '-infinity'))
          FROM calendar_horizons h JOIN calendars c USING (calendar_id))))
