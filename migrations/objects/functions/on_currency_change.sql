-- Insert an INSTRUMENT trigger for each security that was ever quoted in a quotation unit whose
-- value changes; refuse the changes that no revaluation would make correct.
--
-- A price of the unit may be inserted concurrently, of a security that was never quoted in it. Its
-- foreign key locks the unit's row, so the lock here makes this transaction see the security, or
-- makes the writer wait. A transaction with an older snapshot does not see it even then.
CREATE OR REPLACE FUNCTION on_currency_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.currency <> NEW.major_currency
       AND NOT EXISTS (SELECT FROM currencies m
                       WHERE m.currency = NEW.major_currency AND m.units_per_major = 1) THEN
        RAISE EXCEPTION
            '% cannot be a unit of %, which is a quotation unit itself',
            NEW.currency, NEW.major_currency
            USING ERRCODE = 'restrict_violation',
                  HINT = 'State it in units of the currency.';
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN NULL;
    END IF;
    IF (NEW.currency, NEW.currency_no) IS DISTINCT FROM (OLD.currency, OLD.currency_no)
       OR (NEW.units_per_major = 1) <> (OLD.units_per_major = 1) THEN
        RAISE EXCEPTION
            'code and number of currency % cannot change, nor whether it is a quotation unit',
            OLD.currency
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Insert another currency.';
    END IF;
    IF (NEW.units_per_major, NEW.major_currency)
           IS NOT DISTINCT FROM (OLD.units_per_major, OLD.major_currency) THEN
        RETURN NULL;
    END IF;
    IF NOT sees_committed_writes() THEN
        RAISE EXCEPTION
            'currency % can change only in a transaction that reads committed data', OLD.currency
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Use the isolation level READ COMMITTED.';
    END IF;
    PERFORM 1 FROM currencies WHERE currency = NEW.currency FOR UPDATE;
    INSERT INTO reprocessing_triggers (kind, security_id, dates)
    SELECT 'INSTRUMENT', security_id, '{(,)}'
    FROM security_quote_currencies
    WHERE currency = NEW.currency
    ORDER BY security_id;
    NOTIFY revalue_wake;
    RETURN NULL;
END $$;
