-- How many rows a load has written or removed, how many of them were changed since, and how many of
-- the others a revert deletes, restores, and of these inserts.
SELECT count(*) AS rows, count(*) FILTER (WHERE is_later) AS later,
       count(*) FILTER (WHERE NOT had_before AND NOT is_later) AS deleted,
       count(*) FILTER (WHERE had_before AND NOT is_later) AS restored,
       count(*) FILTER (WHERE had_before AND NOT had_after AND NOT is_later) AS inserted
FROM reverted
