UPDATE scheduler_term SET holder = NULL WHERE term = :term
