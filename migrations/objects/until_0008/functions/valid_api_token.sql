-- Return the API token with this hash, if it is neither revoked nor expired; else no row.
--
-- SECURITY DEFINER: the roles of the engine may not read api_tokens, so that they can ask for one
-- hash but not list the hashes. The fixed search_path belongs to SECURITY DEFINER: the caller
-- cannot put another api_tokens in front.
CREATE OR REPLACE FUNCTION valid_api_token(hash bytea) RETURNS SETOF api_tokens
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT * FROM api_tokens
    WHERE token_hash = hash AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > clock_timestamp())
$$;

REVOKE ALL ON FUNCTION valid_api_token FROM PUBLIC;
