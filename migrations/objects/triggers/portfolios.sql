-- Refuse an update or the removal of a portfolio that its positions do not allow.
--
-- Once per row: portfolios are few, and each change is compared with its own old row.
CREATE OR REPLACE TRIGGER portfolio_updated
AFTER UPDATE ON portfolios
FOR EACH ROW EXECUTE FUNCTION on_portfolio_update();

CREATE OR REPLACE TRIGGER portfolios_replicated
AFTER INSERT OR UPDATE OR DELETE ON portfolios
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE portfolios ENABLE REPLICA TRIGGER portfolios_replicated;

CREATE OR REPLACE TRIGGER portfolio_removed
AFTER DELETE ON portfolios
FOR EACH ROW EXECUTE FUNCTION refuse_removal();

CREATE OR REPLACE TRIGGER portfolio_renamed
AFTER UPDATE OF portfolio_id ON portfolios
FOR EACH ROW WHEN (OLD.portfolio_id IS DISTINCT FROM NEW.portfolio_id)
EXECUTE FUNCTION refuse_removal();

CREATE OR REPLACE TRIGGER portfolios_truncated
BEFORE TRUNCATE ON portfolios
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate('Use DELETE for those without positions.');

ALTER TABLE portfolios ENABLE ALWAYS TRIGGER portfolios_truncated;
