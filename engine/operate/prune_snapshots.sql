-- Delete the snapshots of :date that no reader at or after the floor can see, of the positions
-- after :after and up to :upto. Unless :deletes, only count them.
--
-- Those are the ones with a later epoch beside them, on the same date, that was published and
-- committed at the floor: readers take the later one, now and at every time since. On dates that
-- are hidden, or on which the position is not open, readers take none; the rows without a later one
-- stay there.
WITH later AS MATERIALIZED (
    SELECT n.position_id, max(n.epoch) AS epoch
    FROM dated_snapshots n JOIN floor_epochs f USING (position_id)
    WHERE n.date = :date::date AND n.position_id > :after AND n.position_id <= :upto
      AND n.epoch > 0 AND n.epoch <= f.epoch AND n.valued_at <= :floor::timestamptz
    GROUP BY n.position_id
), gone AS MATERIALIZED (
    SELECT s.position_id, s.epoch, pg_column_size(s.*) AS bytes
    FROM later l
    JOIN daily_position_snapshots s
      ON s.position_id = l.position_id AND s.date = :date::date AND s.epoch < l.epoch
), deleted AS (
    DELETE FROM daily_position_snapshots s
    USING gone g
    WHERE :deletes AND s.date = :date::date AND s.position_id = g.position_id
      AND s.epoch = g.epoch
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
