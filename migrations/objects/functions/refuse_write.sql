-- Refuse a write, with the message and the hint that the database trigger gives.
CREATE OR REPLACE FUNCTION refuse_write() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation', HINT = TG_ARGV[1];
END $$;
