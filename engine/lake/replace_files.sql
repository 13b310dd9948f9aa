-- Take files out of what readers see; they are unused then. Returns how many there were.
WITH replaced AS (
    DELETE FROM lake_files WHERE path = ANY (:paths::text[]) RETURNING path
)
INSERT INTO lake_unused (path, since) SELECT path, clock_timestamp() FROM replaced
