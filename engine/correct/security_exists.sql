-- Whether there is such a security.
SELECT EXISTS (SELECT FROM instruments WHERE security_id = :security)
