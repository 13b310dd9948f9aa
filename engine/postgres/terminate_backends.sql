-- End this user's database sessions of one application_name, except the session that asks; wait up
-- to five seconds for each. Returns how many there were.
SELECT count(pg_terminate_backend(pid, 5000))
FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = :name
  AND pid <> pg_backend_pid()
