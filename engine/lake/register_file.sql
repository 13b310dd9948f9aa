-- Record a file of the lake, in the transaction that finishes the jobs of its rows.
INSERT INTO lake_files
    (path, row_count, byte_count, sha256, positions, dates, max_epoch, moment_id)
VALUES (:path, :row_count, :byte_count, :digest,
        int8range(:first_position, :last_position, '[]'),
        daterange(:first_date, :last_date, '[]'), :max_epoch, (SELECT current_moment()))
