-- The answer to a request that was answered in the last :seconds, and what was asked. who: the
-- client, by what no other client is called.
SELECT fingerprint, answer
FROM request_answers
WHERE who = :who AND request_key = :request_key
  AND answered_at > clock_timestamp() - make_interval(secs => :seconds::double precision)
