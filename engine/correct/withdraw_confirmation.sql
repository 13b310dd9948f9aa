-- Withdraw the confirmation that is in force of a price or rate, unless it is of :kept_value (NULL:
-- in any case). No row: there was nothing to withdraw.
UPDATE confirmations
SET withdrawn_moment = (SELECT current_moment()), withdrawn_by = :who
WHERE kind = :kind AND subject = :subject AND date = :date AND withdrawn_moment IS NULL
  AND value IS DISTINCT FROM :kept_value::numeric
RETURNING value
