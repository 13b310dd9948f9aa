-- The schema of the tables, if every database user may create functions in it; else no row.
SELECT current_schema()::text WHERE has_schema_privilege('public', current_schema(), 'CREATE')
