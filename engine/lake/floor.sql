-- The retention floor; no row if nothing was ever pruned.
SELECT floor FROM retention
