-- Record a correction, or refuse the statement, for every update of an instrument.
--
-- Once per row: instruments are few, and each change is compared with its own old row.
CREATE OR REPLACE TRIGGER instrument_updated
AFTER UPDATE ON instruments
FOR EACH ROW EXECUTE FUNCTION on_instrument_update();
