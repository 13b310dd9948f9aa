-- Create the missing partitions of daily_position_snapshots for the opened business dates of a
-- calendar (NULL: of all calendars) after a date.
--
-- Database triggers call it in the transaction that opens a date, so a valuation finds the
-- partition whatever tool has opened it. A scheduler calls it too when its term begins: somebody
-- may have dropped one. It takes no lock if none is missing.
CREATE OR REPLACE FUNCTION make_snapshot_partitions(
    calendar text DEFAULT NULL, since date DEFAULT '-infinity') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM make_snapshot_partition(m.day)
    FROM (
        SELECT min(b.business_date) AS day
        FROM calendars c JOIN business_dates b USING (calendar_id)
        WHERE (calendar IS NULL OR c.calendar_id = calendar)
          AND b.business_date > since AND b.business_date <= c.opened_through
        GROUP BY date_trunc('month', b.business_date)
        ORDER BY 1
    ) m
    WHERE NOT EXISTS (
        SELECT FROM snapshot_partitions p WHERE m.day >= p.first_date AND m.day < p.end_date);
END $$;

REVOKE ALL ON FUNCTION make_snapshot_partitions FROM PUBLIC;
