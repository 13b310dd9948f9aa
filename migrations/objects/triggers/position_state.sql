-- Check what new positions refer to, and refuse to change it later; note new positions
-- for staging.
--
-- Once per statement: a trigger before the update of each row would make every update of the
-- protocol lock its row first.
CREATE OR REPLACE TRIGGER position_numbers_checked
AFTER INSERT ON position_state REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION check_position_numbers();

CREATE OR REPLACE TRIGGER position_keeps_numbers
BEFORE UPDATE OF position_id, portfolio_id, security_id, calendar_no, base_currency_no
ON position_state
FOR EACH STATEMENT EXECUTE FUNCTION refuse_renumbering();

CREATE OR REPLACE TRIGGER positions_noted
AFTER INSERT ON position_state REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION note_new_positions();

CREATE OR REPLACE TRIGGER position_removed
AFTER DELETE ON position_state
FOR EACH ROW EXECUTE FUNCTION refuse_removal();

CREATE OR REPLACE TRIGGER position_state_truncated
BEFORE TRUNCATE ON position_state
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate('Close the positions.');

ALTER TABLE position_state ENABLE ALWAYS TRIGGER position_state_truncated;
