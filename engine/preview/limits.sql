SELECT set_config('statement_timeout', LEAST(NULLIF(setting::bigint, 0), :most_ms::bigint)::text, true)
FROM pg_settings
WHERE name = 'statement_timeout'
