-- Refuse to take away a currency in which a security was ever quoted.
--
-- The database triggers of market_prices insert the rows; they say which positions a rate affects.
-- Without them the correction of a rate would not reach its positions.
CREATE OR REPLACE TRIGGER quote_currencies_removed
BEFORE UPDATE OR DELETE ON security_quote_currencies
FOR EACH STATEMENT EXECUTE FUNCTION refuse_write(
    'security_quote_currencies is written by the database triggers of market_prices only',
    'Write to market_prices.');

CREATE OR REPLACE TRIGGER security_quote_currencies_truncated
BEFORE TRUNCATE ON security_quote_currencies
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate('Write to market_prices.');

ALTER TABLE security_quote_currencies
    ENABLE ALWAYS TRIGGER security_quote_currencies_truncated;

CREATE OR REPLACE TRIGGER security_quote_currencies_replicated
AFTER INSERT OR UPDATE OR DELETE ON security_quote_currencies
FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
EXECUTE FUNCTION refuse_replica_write();

ALTER TABLE security_quote_currencies ENABLE REPLICA TRIGGER security_quote_currencies_replicated;
