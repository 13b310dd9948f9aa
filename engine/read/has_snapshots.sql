-- Whether PostgreSQL has snapshots from :first_date to :last_date (both included).
SELECT EXISTS (
    SELECT FROM daily_position_snapshots WHERE date BETWEEN :first_date AND :last_date)
