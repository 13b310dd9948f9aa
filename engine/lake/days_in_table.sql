-- How many position-days have at least one snapshot, of any epoch.
--
-- Nearly all of them have one of epoch 0, and no more than one: these are counted without a sort.
SELECT (SELECT count(*) FROM daily_position_snapshots WHERE epoch = 0)
     + (SELECT count(*)
        FROM (
            SELECT DISTINCT s.date, s.position_id
            FROM daily_position_snapshots s
            WHERE s.epoch >= 1 AND NOT EXISTS (
                SELECT FROM daily_position_snapshots o
                WHERE o.date = s.date AND o.position_id = s.position_id AND o.epoch = 0
            )
        ) later)
