-- Record a merged file: its rows have the times at which they were committed, the first of them
-- :valued_from. floor: the retention floor at which superseded rows were left out; NULL: none were.
INSERT INTO lake_files
    (path, row_count, byte_count, sha256, positions, dates, max_epoch, valued_from, floor)
VALUES (:path, :row_count, :byte_count, :digest,
        int8range(:first_position, :last_position, '[]'),
        daterange(:first_date, :last_date, '[]'), :max_epoch,
        COALESCE(:valued_from::timestamptz, '-infinity'), :floor)
