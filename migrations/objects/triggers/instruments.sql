-- Record a correction, or refuse the statement, for every update of an instrument; refuse to remove
-- one that has positions.
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

CREATE OR REPLACE TRIGGER instrument_removed
AFTER DELETE ON instruments
FOR EACH ROW EXECUTE FUNCTION refuse_removal();

CREATE OR REPLACE TRIGGER instrument_renamed
AFTER UPDATE OF security_id ON instruments
FOR EACH ROW WHEN (OLD.security_id IS DISTINCT FROM NEW.security_id)
EXECUTE FUNCTION refuse_removal();
