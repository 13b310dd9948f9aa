-- All positions, so that those in one security follow each other.
SELECT portfolio_id, security_id FROM position_state ORDER BY security_id, portfolio_id
