-- Lock the positions of the incoming portfolios, in the order of their ids, so that two loads
-- cannot deadlock: what is closed is read from records that nobody changes meanwhile.
SELECT p.position_id
FROM position_state p
WHERE p.portfolio_id IN (SELECT portfolio_id FROM incoming)
ORDER BY p.position_id
FOR UPDATE
