-- Refuse a write that fires no other database trigger: by logical replication, or with
-- session_replication_role = replica.
--
-- Nothing would record it as a correction. Its database triggers are enabled for replicas only, and
-- are fired per row: logical replication fires no others. Their WHEN clause: ALTER TABLE ... ENABLE
-- TRIGGER ALL, as after a restore of data, enables them for every writer.
CREATE OR REPLACE FUNCTION refuse_replica_write() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION
        '% cannot be written by replication (session_replication_role = replica): '
        'nothing would be revalued', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Replicate into another table, and write from there. A copy of the whole '
                     'database, which values nothing itself, disables this database trigger.';
END $$;
