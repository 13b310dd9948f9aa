-- Raise an error: a view cannot show the snapshots that are in the lake.
--
-- The view itself looks whether there are any, with the rights of its owner: whoever may read the
-- view need not be allowed to read the table of the files.
CREATE OR REPLACE FUNCTION refuse_without_lake(address text) RETURNS SETOF postgres_valuations
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    RAISE EXCEPTION 'position_valuations cannot show all rows: some are in the lake %', address
        USING ERRCODE = 'RV411',
              HINT = 'Read with revalue read, the Python API or the HTTP API, which read both.';
END $$;
