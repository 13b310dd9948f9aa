-- What operators have asked of the scheduler of this term; no row when the term is over.
SELECT paused_at IS NOT NULL AS paused, COALESCE(drain_term = term, false) AS drain
FROM scheduler_term
WHERE term = :term
