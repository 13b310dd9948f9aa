-- Record that the lake is this database's own, under a new id.
UPDATE lake SET lake_id = :lake_id::text::uuid, owner = :owner
