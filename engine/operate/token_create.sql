-- Store a token by its hash. It expires :expires from now; NULL: never.
INSERT INTO api_tokens (name, token_hash, scopes, portfolios, expires_at)
VALUES (:name, :hash, :scopes::text[], :portfolios::text[], clock_timestamp() + :expires::interval)
RETURNING token_id, name, scopes, portfolios, created_at, expires_at, revoked_at
