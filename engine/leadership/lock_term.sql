-- Lock the term for this transaction; no row when it is over. FOR KEY SHARE lets heartbeats and
-- operators' requests pass; `acquire` waits for it.
--
-- A server that has lost its last commits gives the number of a lost term again, to another holder.
SELECT true FROM scheduler_term WHERE term = :term AND holder = :holder FOR KEY SHARE
