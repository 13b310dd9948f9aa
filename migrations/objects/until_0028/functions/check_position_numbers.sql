-- Refuse a new position without its portfolio or instrument, or whose calendar_no or
-- base_currency_no is not that of its portfolio.
--
-- Once per statement, in place of foreign keys: they took half of the time of a position that is
-- loaded, with four checks of each. Both rows are locked as by a foreign key, so that they are not
-- removed concurrently (refuse_removal); the portfolio's also not changed.
--
-- position_state repeats both numbers, because two look-ups by the portfolio's id were a tenth of
-- PostgreSQL's work for a corrected day of 100,000 portfolios. Nothing updates them: they cannot
-- change while the portfolio has positions (on_portfolio_update). The lock: a transaction that
-- changes the portfolio concurrently waits, then finds the positions and is refused.
CREATE OR REPLACE FUNCTION check_position_numbers() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    PERFORM 1 FROM portfolios WHERE portfolio_id IN (SELECT portfolio_id FROM inserted)
    ORDER BY portfolio_id FOR SHARE;
    PERFORM 1 FROM instruments WHERE security_id IN (SELECT security_id FROM inserted)
    ORDER BY security_id FOR KEY SHARE;
    SELECT i.portfolio_id, i.security_id INTO wrong
    FROM inserted i
    LEFT JOIN portfolios f USING (portfolio_id)
    LEFT JOIN instruments s USING (security_id)
    WHERE f.base_currency IS NULL OR s.currency IS NULL
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION
            'portfolio or security of position % / % does not exist',
            wrong.portfolio_id, wrong.security_id
            USING ERRCODE = 'foreign_key_violation',
                  HINT = 'Load the portfolio and the instrument first.';
    END IF;
    SELECT i.portfolio_id, i.security_id INTO wrong
    FROM inserted i
    JOIN portfolios f USING (portfolio_id)
    JOIN calendars c USING (calendar_id)
    JOIN currencies b ON b.currency = f.base_currency
    WHERE (i.calendar_no, i.base_currency_no) <> (c.calendar_no, b.currency_no)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION
            'calendar_no or base_currency_no of position % / % is not that of its portfolio',
            wrong.portfolio_id, wrong.security_id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Take calendar_no from the portfolio''s calendar '
                         'and base_currency_no from its base currency.';
    END IF;
    RETURN NULL;
END $$;
