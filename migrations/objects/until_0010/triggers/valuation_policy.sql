-- Record a correction for every update of the valuation policy.
--
-- Once per row: the table has one row.
CREATE OR REPLACE TRIGGER policy_updated
AFTER UPDATE ON valuation_policy
FOR EACH ROW EXECUTE FUNCTION on_policy_update();

CREATE OR REPLACE TRIGGER valuation_policy_truncated
BEFORE TRUNCATE ON valuation_policy
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
