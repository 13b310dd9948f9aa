-- Delete the records that an extension replaces, in place: nothing is scheduled on their dates yet.
DELETE FROM position_history h
USING changed_positions c, position_state p
WHERE NOT c.is_correction AND p.position_id = c.position_id
  AND h.position_id = c.position_id AND h.epoch = p.history_epoch
  AND h.position_date >= c.first_change
