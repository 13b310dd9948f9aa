-- Record a correction, or refuse the statement, for every write to business_dates; then raise the
-- revision of the calendars.
--
-- An update counts as a removal of the old dates and an insertion of the new ones, so it has one
-- trigger for each. Triggers of one event fire in the order of their names: a refusal comes before
-- the revision is raised.
CREATE OR REPLACE TRIGGER business_date_moment_set
BEFORE INSERT OR UPDATE OF calendar_id, business_date ON business_dates
FOR EACH ROW EXECUTE FUNCTION set_business_date_moment();

CREATE OR REPLACE TRIGGER business_dates_inserted
AFTER INSERT ON business_dates REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_inserted();

CREATE OR REPLACE TRIGGER business_dates_deleted
AFTER DELETE ON business_dates REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_removed();

CREATE OR REPLACE TRIGGER business_dates_left
AFTER UPDATE ON business_dates REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_removed();

CREATE OR REPLACE TRIGGER business_dates_moved
AFTER UPDATE ON business_dates REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION on_business_dates_inserted();

CREATE OR REPLACE TRIGGER business_dates_revise_inserted
AFTER INSERT ON business_dates REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION revise_calendars();

CREATE OR REPLACE TRIGGER business_dates_revise_deleted
AFTER DELETE ON business_dates REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION revise_calendars();

CREATE OR REPLACE TRIGGER business_dates_revise_left
AFTER UPDATE ON business_dates REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION revise_calendars();

CREATE OR REPLACE TRIGGER business_dates_revise_moved
AFTER UPDATE ON business_dates REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION revise_calendars();

CREATE OR REPLACE TRIGGER business_dates_truncated
BEFORE TRUNCATE ON business_dates
FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
