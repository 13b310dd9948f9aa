-- The first :most incoming rows whose key has a row before, with the number of all.
SELECT row_no, repeated_key, count(*) OVER () AS count
FROM incoming
WHERE repeated_key IS NOT NULL
ORDER BY row_no
LIMIT :most::integer
