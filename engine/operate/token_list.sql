-- All tokens, valid or not, the newest first. Never their hashes.
SELECT token_id, name, scopes, portfolios, created_at, expires_at, revoked_at
FROM api_tokens
ORDER BY token_id DESC
