-- End the records that the load changes or removes, at the epoch that their position has now. The
-- history of every earlier epoch stays as it was, as the audit trail.
--
-- A record that began in this very epoch is deleted: no row was computed from it, or the load
-- changes no number.
WITH ending AS (
    SELECT t.position_id, t.position_date, p.epoch
    FROM target_history t JOIN position_state p USING (position_id)
    WHERE t.ends
), deleted AS (
    DELETE FROM position_history h
    USING ending e
    WHERE h.position_id = e.position_id AND h.position_date = e.position_date
      AND h.valid_to_epoch IS NULL AND h.valid_from_epoch = e.epoch
)
UPDATE position_history h
SET valid_to_epoch = e.epoch
FROM ending e
WHERE h.position_id = e.position_id AND h.position_date = e.position_date
  AND h.valid_to_epoch IS NULL AND h.valid_from_epoch < e.epoch
