-- Begin one transaction of a prune: another prune waits for its end. Nothing is waited for longer
-- than :lock_ms.
SELECT set_config('lock_timeout', :lock_ms::text, true), r.floor
FROM (SELECT floor FROM retention FOR UPDATE) r
