-- The dates of a month that have snapshots of corrected positions: only these have superseded ones.
SELECT DISTINCT date
FROM daily_position_snapshots
WHERE date >= :first_date AND date < :end_date AND epoch > 0
ORDER BY date
