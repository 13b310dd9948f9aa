-- Record this load; return its id. Over HTTP the client is who has signed the transaction
-- (sign.sql) and not the process of the server, which is the same for all.
SELECT record_load(
    :kind, :source, COALESCE(NULLIF(current_setting('revalue.who', true), ''), :client), :rows,
    :inserted, :changed, :unchanged, :removed, :closed, :trigger, :reverts)
