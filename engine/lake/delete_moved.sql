-- Delete the snapshots that a file has now.
DELETE FROM daily_position_snapshots
WHERE date BETWEEN :first_date AND :last_date
  AND position_id BETWEEN :first_position AND :last_position
