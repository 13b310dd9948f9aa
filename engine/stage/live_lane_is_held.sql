-- Whether a trigger is queued, and none of its positions raised yet, that reaches the dates of the live lane. To stage them before it is
-- fanned out would be to stage them twice: a price that came before its date was opened would correct it.
SELECT EXISTS (
    SELECT FROM reprocessing_triggers
    WHERE fanned_out_at IS NULL AND cursor_position_id = 0
      AND (upper_inf(dates) OR upper(dates) > (
          SELECT min(COALESCE((SELECT business_date FROM business_dates d WHERE d.calendar_id = c.calendar_id
                               ORDER BY business_date DESC OFFSET :business_days LIMIT 1), '-infinity'))
          FROM calendars c)))
