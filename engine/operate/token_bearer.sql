SELECT token_id, name, token_hash, scopes, portfolios, created_at, expires_at, revoked_at
FROM valid_api_token(:hash::bytea)
