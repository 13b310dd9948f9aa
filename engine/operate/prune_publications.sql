-- Of the positions after :after and up to :upto, delete the publications before the newest one at
-- or before the floor. Unless :deletes, only count them.
--
-- A job that was one publication may go after this. So the row that stays gets the epoch that was
-- published at the floor. At or after the floor nobody can tell the difference.
WITH known AS (
    SELECT w.position_id, w.moment_id, w.epoch, pg_column_size(w.*) AS bytes,
           row_number() OVER (PARTITION BY w.position_id ORDER BY m.at DESC) AS age
    FROM publications w JOIN moments m USING (moment_id)
    WHERE w.position_id > :after AND w.position_id <= :upto AND m.at <= :floor::timestamptz
), kept AS (
    UPDATE publications w SET epoch = f.epoch
    FROM known k JOIN floor_epochs f USING (position_id)
    WHERE :deletes AND k.age = 1 AND f.epoch > k.epoch
      AND w.position_id = k.position_id AND w.moment_id = k.moment_id
), gone AS (
    DELETE FROM publications w
    USING known k
    WHERE :deletes AND k.age > 1 AND w.position_id = k.position_id AND w.moment_id = k.moment_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM known WHERE age > 1
