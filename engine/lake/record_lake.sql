-- Record the lake of this database; of two at once the first one stays.
INSERT INTO lake (address, lake_id, owner) VALUES (:address, :lake_id::text::uuid, :owner)
ON CONFLICT (singleton) DO NOTHING
