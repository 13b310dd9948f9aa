-- Take :size ids of a sequence that nobody else gets, ascending. Other sessions may take ids at the
-- same time, so they need not be consecutive.
SELECT COALESCE(array_agg(id ORDER BY id), '{}')
FROM (SELECT nextval(:sequence::text::regclass) AS id FROM generate_series(1, :size::integer)) taken
