-- Refuse an update of a portfolio that its positions do not allow.
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
