-- Lock the term for this transaction; no row when it is over. FOR KEY SHARE lets heartbeats and
-- operators' requests pass; `acquire` waits for it.
SELECT true FROM scheduler_term WHERE term = :term FOR KEY SHARE
