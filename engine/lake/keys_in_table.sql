-- The keys of the snapshots that PostgreSQL has on dates from :first_date to :last_date (included).
SELECT position_id, date, epoch
FROM daily_position_snapshots
WHERE date BETWEEN :first_date AND :last_date
