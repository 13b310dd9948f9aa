-- Set max_wal_size of the server; it is in force when the server has read its settings.
ALTER SYSTEM SET max_wal_size = :megabytes
