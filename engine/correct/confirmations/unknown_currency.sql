-- The first of two currencies that does not exist; NULL: both do.
SELECT min(c) FROM unnest(ARRAY[:local::text, :base::text]) AS c
WHERE c NOT IN (SELECT currency FROM currencies)
