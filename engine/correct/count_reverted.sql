-- How many rows a load has written or removed, and how many of them were changed since.
SELECT count(*) AS rows, count(*) FILTER (WHERE is_later) AS later FROM reverted
