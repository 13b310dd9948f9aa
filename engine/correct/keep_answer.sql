-- Keep the answer to a request, in the place of one that has expired.
INSERT INTO request_answers (who, request_key, fingerprint, answer)
VALUES (:who, :request_key, :fingerprint, :answer)
ON CONFLICT (who, request_key) DO UPDATE
SET fingerprint = excluded.fingerprint, answer = excluded.answer, answered_at = clock_timestamp()
