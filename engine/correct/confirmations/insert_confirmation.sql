-- Confirm a price or rate against the values before it, of which NULL is one that cannot be
-- compared. None may be in force of it.
INSERT INTO confirmations (kind, subject, date, value, values_before, confirmed_by, why)
VALUES (:kind, :subject, :date, :value, :values_before, :who, :why)
