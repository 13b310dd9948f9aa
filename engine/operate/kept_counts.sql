-- The counts of all positions that were kept last, by whoever counted them. No row: none were.
SELECT counts FROM kept_counts
