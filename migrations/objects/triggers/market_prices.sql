-- Record a correction for every write to market_prices; keep what a load replaces.
--
-- Once per statement, with all its rows: a file of prices is one correction per security.
CREATE OR REPLACE TRIGGER prices_inserted
AFTER INSERT ON market_prices REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_prices_inserted();

CREATE OR REPLACE TRIGGER prices_deleted
AFTER DELETE ON market_prices REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_prices_deleted();

CREATE OR REPLACE TRIGGER prices_updated
AFTER UPDATE ON market_prices REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION on_prices_updated();

CREATE OR REPLACE TRIGGER market_prices_truncated
BEFORE TRUNCATE ON market_prices
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate(
    'Use DELETE: it records which dates are affected.');

ALTER TABLE market_prices ENABLE ALWAYS TRIGGER market_prices_truncated;

CREATE OR REPLACE TRIGGER market_prices_replicated
AFTER INSERT OR UPDATE OR DELETE ON market_prices
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE market_prices ENABLE REPLICA TRIGGER market_prices_replicated;

CREATE OR REPLACE TRIGGER prices_inserted_kept
AFTER INSERT ON market_prices REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_prices();

CREATE OR REPLACE TRIGGER prices_deleted_kept
AFTER DELETE ON market_prices REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_prices();

CREATE OR REPLACE TRIGGER prices_updated_kept
AFTER UPDATE ON market_prices REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_prices();
