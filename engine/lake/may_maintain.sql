-- Whether this user may replace files and delete snapshots.
SELECT has_table_privilege('lake_files', 'DELETE') AND has_table_privilege('lake_unused', 'INSERT')
       AND has_table_privilege('daily_position_snapshots', 'DELETE')
