-- The published row of a position and date that PostgreSQL has.
SELECT *
FROM postgres_valuations
WHERE portfolio_id = :portfolio AND security_id = :security AND date = :date
