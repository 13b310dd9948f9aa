-- Ask for an answer.
SELECT true
