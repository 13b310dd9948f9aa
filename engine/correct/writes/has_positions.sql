-- Whether there is any position.
SELECT EXISTS (SELECT FROM position_state)
