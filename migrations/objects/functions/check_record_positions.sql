-- Refuse a position record without its position.
--
-- Once per statement, in place of a foreign key, which took most of the time to insert a record.
-- The positions are locked as by a foreign key; a load has locked them already. Those that this
-- transaction has written itself, as in their first load, need no lock: nobody else can remove
-- them. Locking each took more time than inserting its record.
CREATE OR REPLACE FUNCTION check_record_positions() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    unknown bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM inserted i
        LEFT JOIN position_state p USING (position_id)
        WHERE p.xmin IS DISTINCT FROM pg_current_xact_id()::xid)
    THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM position_state WHERE position_id IN (SELECT position_id FROM inserted)
    ORDER BY position_id FOR KEY SHARE;
    SELECT i.position_id INTO unknown
    FROM inserted i
    LEFT JOIN position_state p USING (position_id)
    WHERE p.portfolio_id IS NULL
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the position % of a position record does not exist', unknown
            USING ERRCODE = 'foreign_key_violation',
                  HINT = 'Use revalue load positions.';
    END IF;
    RETURN NULL;
END $$;
