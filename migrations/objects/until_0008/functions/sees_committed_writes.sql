-- Whether this transaction reads what other transactions have committed since it began.
--
-- Under REPEATABLE READ and SERIALIZABLE it does not: a writer does not see the rows of a writer
-- that it waited for, so it cannot know where the reach of its correction ends.
CREATE OR REPLACE FUNCTION sees_committed_writes() RETURNS boolean
LANGUAGE sql AS $$
    SELECT current_setting('transaction_isolation') = 'read committed'
$$;
