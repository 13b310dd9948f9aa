-- Record this load; return its id.
SELECT record_load(
    :kind, :source, :client, :rows, :inserted, :changed, :unchanged, :removed, :closed, :trigger,
    :reverts)
