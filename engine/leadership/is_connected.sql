-- Whether there is a database session of this application_name. Every user may see the names.
SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = :name)
