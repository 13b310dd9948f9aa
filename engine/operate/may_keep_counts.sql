-- Whether this session may keep counts: a reader may not, nor a standby, nor a transaction that is
-- declared to write nothing.
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'
       AND has_table_privilege('kept_counts', 'INSERT')
       AND has_table_privilege('kept_counts', 'UPDATE')
