-- Give a business date the moment of the transaction that inserts or moves it.
--
-- Not a default of the column: a writer could insert another moment, and so another time since
-- which the date was known.
CREATE OR REPLACE FUNCTION set_business_date_moment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    NEW.moment_id := current_moment();
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION set_business_date_moment FROM PUBLIC;
