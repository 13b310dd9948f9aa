-- The confirmation of a price or rate that is in force. values_before NULL: against any value.
SELECT value, values_before
FROM confirmations
WHERE kind = :kind AND subject = :subject AND date = :date AND withdrawn_moment IS NULL
