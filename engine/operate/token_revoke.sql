-- Revoke the token of this name, if one is valid.
UPDATE api_tokens
SET revoked_at = clock_timestamp()
WHERE name = :name AND revoked_at IS NULL
RETURNING token_id, name, scopes, portfolios, created_at, expires_at, revoked_at
