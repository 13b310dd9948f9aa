-- Check and record every change of opened_through, whichever tool makes it.
--
-- For each row and before the change: it raises the revision in the same row version.
CREATE OR REPLACE TRIGGER calendar_opened
BEFORE INSERT OR UPDATE ON calendars
FOR EACH ROW EXECUTE FUNCTION on_calendar_opened();

-- Refuse every write to calendars that fires no other database trigger.
CREATE OR REPLACE TRIGGER calendars_replicated
AFTER INSERT OR UPDATE OR DELETE ON calendars
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE calendars ENABLE REPLICA TRIGGER calendars_replicated;
