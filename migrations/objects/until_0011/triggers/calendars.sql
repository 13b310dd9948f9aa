-- Refuse every write to calendars that fires no other database trigger.
CREATE OR REPLACE TRIGGER calendars_replicated
AFTER INSERT OR UPDATE OR DELETE ON calendars
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE calendars ENABLE REPLICA TRIGGER calendars_replicated;
