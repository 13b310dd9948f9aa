-- Ask the scheduler of this term to finish what is in flight and end.
UPDATE scheduler_term SET drain_term = term WHERE term = :term
