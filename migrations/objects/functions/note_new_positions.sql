-- Note new positions in unstaged_positions, in the transaction that inserts them, whichever it is.
CREATE OR REPLACE FUNCTION note_new_positions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO unstaged_positions (first_position_id, last_position_id)
    SELECT lower(ids), upper(ids) - 1
    FROM (SELECT unnest(range_agg(int8range(position_id, position_id, '[]'))) AS ids
          FROM inserted) runs;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION note_new_positions FROM PUBLIC;
