-- Create the partitions of daily_position_snapshots for the days that a calendar is opened through.
CREATE OR REPLACE FUNCTION make_partitions_of_opening() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM make_snapshot_partitions(
        NEW.calendar_id, COALESCE(OLD.opened_through, '-infinity'));
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION make_partitions_of_opening FROM PUBLIC;
