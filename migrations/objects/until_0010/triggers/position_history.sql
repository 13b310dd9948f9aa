-- Refuse TRUNCATE of position_history.
--
-- Other writes need no trigger: a correction of a position writes a new epoch and its own
-- reprocessing trigger in one transaction.
CREATE OR REPLACE TRIGGER position_history_truncated
BEFORE TRUNCATE ON position_history
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
