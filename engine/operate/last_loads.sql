-- For each kind of data: when something of it was last loaded.
SELECT kind, max(loaded_at) AS loaded_at
FROM loads
GROUP BY kind
