-- Confirm a price or rate; no row: one of it is in force already, which stays as it is.
INSERT INTO confirmations (kind, subject, date, value, confirmed_by, why)
VALUES (:kind, :subject, :date, :value, :who, :why)
ON CONFLICT (kind, subject, date) WHERE withdrawn_moment IS NULL DO NOTHING
RETURNING confirmation_id
