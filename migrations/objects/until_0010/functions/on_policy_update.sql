-- Insert a POLICY trigger when the valuation policy changes.
--
-- The pivot currency and the maximum age of rates apply to every position, so all dates of all
-- positions are affected.
CREATE OR REPLACE FUNCTION on_policy_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD THEN
        INSERT INTO reprocessing_triggers (kind, dates) VALUES ('POLICY', '{(,)}');
        NOTIFY revalue_wake;
    END IF;
    RETURN NULL;
END $$;
