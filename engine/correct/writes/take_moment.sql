-- The moment of this transaction.
SELECT current_moment()
