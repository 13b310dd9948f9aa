-- The instruments that have a limit of their own for moves of their price, in percent.
SELECT security_id, move_limit_percent::double precision AS move_limit
FROM instruments
WHERE move_limit_percent IS NOT NULL
