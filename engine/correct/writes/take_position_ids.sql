-- Take :size ids for new positions, ascending. Other sessions may take ids at the same time, so
-- they need not be consecutive.
SELECT COALESCE(array_agg(nextval(s.ids) ORDER BY n), '{}')
FROM generate_series(1, :size::integer) n
CROSS JOIN (SELECT pg_get_serial_sequence('position_state', 'position_id')::regclass AS ids
            OFFSET 0) s
