-- Record a correction for every write to fx_rates.
--
-- Once per statement, with all its rows: a file of rates is one correction per currency pair.
CREATE OR REPLACE TRIGGER rates_inserted
AFTER INSERT ON fx_rates REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_rates_inserted_or_deleted();

CREATE OR REPLACE TRIGGER rates_deleted
AFTER DELETE ON fx_rates REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_rates_inserted_or_deleted();

CREATE OR REPLACE TRIGGER rates_updated
AFTER UPDATE ON fx_rates REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION on_rates_updated();

CREATE OR REPLACE TRIGGER fx_rates_truncated
BEFORE TRUNCATE ON fx_rates
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate(
    'Use DELETE: it records which dates are affected.');

ALTER TABLE fx_rates ENABLE ALWAYS TRIGGER fx_rates_truncated;

CREATE OR REPLACE TRIGGER fx_rates_replicated
AFTER INSERT OR UPDATE OR DELETE ON fx_rates
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE fx_rates ENABLE REPLICA TRIGGER fx_rates_replicated;
