-- Limit every statement of this transaction to :max_ms; a lower limit of the connection stays.
SELECT set_config('statement_timeout',
                  LEAST(NULLIF(setting::bigint, 0), :max_ms::bigint)::text, true)
FROM pg_settings
WHERE name = 'statement_timeout'
