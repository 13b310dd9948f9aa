-- Record a correction, or refuse the statement, for every change of a currency.
--
-- Once per row: currencies are few. A currency that is used cannot be deleted: foreign keys.
CREATE OR REPLACE TRIGGER currency_changed
AFTER INSERT OR UPDATE ON currencies
FOR EACH ROW EXECUTE FUNCTION on_currency_change();

CREATE OR REPLACE TRIGGER currencies_replicated
AFTER INSERT OR UPDATE OR DELETE ON currencies
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE currencies ENABLE REPLICA TRIGGER currencies_replicated;
