-- Record a merged file: its rows have the times at which they were committed, the first of them
-- :valued_from.
INSERT INTO lake_files
    (path, row_count, byte_count, positions, dates, max_epoch, valued_from)
VALUES (:path, :row_count, :byte_count,
        int8range(:first_position, :last_position, '[]'),
        daterange(:first_date, :last_date, '[]'), :max_epoch,
        COALESCE(:valued_from::timestamptz, '-infinity'))
