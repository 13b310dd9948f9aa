-- Record a correction for every change of the valuation policy; refuse to delete it.
--
-- Once per row: the table has one row. Without a policy nothing can be valued, and no rate would
-- affect any position.
CREATE OR REPLACE TRIGGER policy_changed
AFTER INSERT OR UPDATE ON valuation_policy
FOR EACH ROW EXECUTE FUNCTION on_policy_change();

CREATE OR REPLACE TRIGGER policy_deleted
BEFORE DELETE ON valuation_policy
FOR EACH STATEMENT EXECUTE FUNCTION refuse_write(
    'the valuation policy cannot be deleted: without it nothing can be valued',
    'Use UPDATE: it records that every position is affected.');

CREATE OR REPLACE TRIGGER valuation_policy_truncated
BEFORE TRUNCATE ON valuation_policy
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate(
    'Use UPDATE: it records that every position is affected.');

ALTER TABLE valuation_policy ENABLE ALWAYS TRIGGER valuation_policy_truncated;

CREATE OR REPLACE TRIGGER valuation_policy_replicated
AFTER INSERT OR UPDATE OR DELETE ON valuation_policy
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE valuation_policy ENABLE REPLICA TRIGGER valuation_policy_replicated;
