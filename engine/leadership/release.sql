-- Give the term back, so that the next scheduler does not wait for the lease to end.
UPDATE scheduler_term SET holder = NULL WHERE term = :term AND holder = :holder
