-- Withdraw the confirmation that is in force of a price or rate. No row: there is none.
UPDATE confirmations
SET withdrawn_moment = (SELECT current_moment()), withdrawn_by = :who
WHERE kind = :kind AND subject = :subject AND date = :date AND withdrawn_moment IS NULL
RETURNING value
