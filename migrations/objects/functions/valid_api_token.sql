-- Return the API token with this hash, if it is neither revoked nor expired; else no row.
--
-- SECURITY DEFINER: the roles of the engine may not read api_tokens, so that they can ask for one
-- hash but not list the hashes. BEGIN ATOMIC binds the names when the function is created: the
-- caller cannot put another api_tokens in front.
CREATE OR REPLACE FUNCTION valid_api_token(hash bytea) RETURNS SETOF api_tokens
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT * FROM api_tokens
    WHERE token_hash = hash AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > clock_timestamp());
END;

REVOKE ALL ON FUNCTION valid_api_token FROM PUBLIC;
