-- Ask this scheduler to finish what is in flight and end. By its holder: it may begin another term
-- just now, as one that Ray restarts does, and one that moves.
UPDATE scheduler_term SET drain_term = term WHERE holder = :holder
