-- Check the repeated numbers of new positions, and refuse to change them later; note new positions
-- for staging.
--
-- Once per statement: a trigger before the update of each row would make every update of the
-- protocol lock its row first.
CREATE OR REPLACE TRIGGER position_numbers_checked
AFTER INSERT ON position_state REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION check_position_numbers();

CREATE OR REPLACE TRIGGER position_keeps_numbers
BEFORE UPDATE OF portfolio_id, security_id, calendar_no, base_currency_no ON position_state
FOR EACH STATEMENT EXECUTE FUNCTION refuse_renumbering();

CREATE OR REPLACE TRIGGER positions_noted
AFTER INSERT ON position_state REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION note_new_positions();
