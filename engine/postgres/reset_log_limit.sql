-- Set max_wal_size of the server to what its file postgresql.conf says.
ALTER SYSTEM RESET max_wal_size
