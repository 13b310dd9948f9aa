-- How many snapshots PostgreSQL has of each month before that of the last opened day, and the least
-- and the greatest position among them.
SELECT date_trunc('month', date)::date AS month, count(*) AS rows,
       min(position_id) AS first_position, max(position_id) AS last_position
FROM daily_position_snapshots
WHERE date < (SELECT date_trunc('month', max(opened_through))::date FROM calendars)
GROUP BY 1
ORDER BY 1
