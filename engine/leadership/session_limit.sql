-- The number of database sessions that this user may have in this database: the least of what the
-- server allows without its reserve, the limit of the database, and that of the user. The last two
-- do not hold for a superuser.
SELECT LEAST(
           current_setting('max_connections')::integer
               - current_setting('superuser_reserved_connections')::integer
               - current_setting('reserved_connections')::integer,
           (SELECT datconnlimit FROM pg_database
            WHERE datname = current_database() AND datconnlimit >= 0 AND NOT r.rolsuper),
           (SELECT r.rolconnlimit WHERE r.rolconnlimit >= 0 AND NOT r.rolsuper)) AS sessions
FROM pg_roles r
WHERE r.rolname = current_user
