-- The valid token with this hash, or no row. The roles of the engine may not read api_tokens, so
-- the function valid_api_token() reads it for them.
SELECT token_id, name, token_hash, scopes, portfolios, created_at, expires_at, revoked_at
FROM valid_api_token(:hash::bytea)
