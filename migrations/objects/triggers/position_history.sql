-- Refuse every write to position_history but that of a load, and records without a position; keep
-- what a load replaces.
--
-- A load or a correction of a position writes its records together with its epoch and its
-- reprocessing trigger; records alone would revalue nothing. A load sets revalue.loading_positions
-- for its transaction (engine/correct/writes/upserts.py).
CREATE OR REPLACE TRIGGER position_history_written
BEFORE INSERT OR UPDATE OR DELETE ON position_history
FOR EACH STATEMENT
WHEN (current_setting('revalue.loading_positions', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION refuse_write(
    'position records cannot be written by hand: nothing would be revalued',
    'Use revalue load positions, or revalue correct position.');

CREATE OR REPLACE TRIGGER position_history_truncated
BEFORE TRUNCATE ON position_history
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate(
    'Use revalue load positions.');

ALTER TABLE position_history ENABLE ALWAYS TRIGGER position_history_truncated;

CREATE OR REPLACE TRIGGER position_history_replicated
AFTER INSERT OR UPDATE OR DELETE ON position_history
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE position_history ENABLE REPLICA TRIGGER position_history_replicated;

CREATE OR REPLACE TRIGGER position_records_checked
AFTER INSERT ON position_history REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION check_record_positions();

CREATE OR REPLACE TRIGGER records_begun_kept
AFTER INSERT ON position_history REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_records();

CREATE OR REPLACE TRIGGER records_ended_kept
AFTER UPDATE ON position_history REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_records();

CREATE OR REPLACE TRIGGER records_deleted_kept
AFTER DELETE ON position_history REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT WHEN (current_setting('revalue.keeps_replaced', true) = 'on')
EXECUTE FUNCTION keep_replaced_records();
