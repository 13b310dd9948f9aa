-- Whether the database was ever migrated.
SELECT to_regclass('alembic_version') IS NOT NULL
