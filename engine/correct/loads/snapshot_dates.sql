-- The first and the last date of the incoming rows (NULL: there are no rows).
SELECT min(position_date) AS first_date, max(position_date) AS last_date FROM incoming
