-- Record a correction, or refuse the statement, for every update of an instrument.
--
-- Once per row: instruments are few, and each change is compared with its own old row.
CREATE OR REPLACE TRIGGER instrument_updated
AFTER UPDATE ON instruments
FOR EACH ROW EXECUTE FUNCTION on_instrument_update();

CREATE OR REPLACE TRIGGER instruments_replicated
AFTER INSERT OR UPDATE OR DELETE ON instruments
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE instruments ENABLE REPLICA TRIGGER instruments_replicated;
