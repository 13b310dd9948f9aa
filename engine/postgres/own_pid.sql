-- The server's process of this database session.
SELECT pg_backend_pid()
