-- Create the partition of daily_position_snapshots in which the rows of a day belong, unless there
-- is one.
--
-- It has the month of the day. If the day lies in a year that ended ten years or more before the
-- last opened day, and no month of that year has a partition, it has the year: what reads all dates
-- locks and plans each partition, and an old history that is loaded at once would have hundreds.
--
-- A table is created and then attached, which locks the parent against another such call and not
-- against readers or valuations. CREATE TABLE ... PARTITION OF would wait for all of them, and they
-- for it. Whoever wants to make the same partition waits until this transaction has ended.
CREATE OR REPLACE FUNCTION make_snapshot_partition(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('year', day);
    finish date := first + interval '1 year';
    name text := 'daily_position_snapshots_' || to_char(day, 'YYYY');
BEGIN
    LOCK TABLE daily_position_snapshots IN SHARE UPDATE EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM snapshot_partitions WHERE day >= first_date AND day < end_date) THEN
        RETURN;
    END IF;
    IF COALESCE((SELECT max(opened_through) FROM calendars) < finish + interval '10 years', true)
       OR EXISTS (SELECT FROM snapshot_partitions WHERE first_date < finish AND end_date > first)
    THEN
        first := date_trunc('month', day);
        finish := first + interval '1 month';
        name := name || to_char(day, '_MM');
    END IF;
    EXECUTE format(
        'CREATE TABLE %I '
        '(LIKE daily_position_snapshots INCLUDING CONSTRAINTS INCLUDING DEFAULTS)', name);
    EXECUTE format(
        'ALTER TABLE daily_position_snapshots ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first, finish);
END $$;

REVOKE ALL ON FUNCTION make_snapshot_partition FROM PUBLIC;
