-- Record a load in its own transaction: what the client says of it, and what the database knows:
-- who and when, the triggers of what it has corrected, and where the rows are kept that it has
-- replaced or added (moment_id; NULL: there are none). reverts is the load that it takes back.
--
-- It writes with the rights of the owner, so that no role can record a load under another name or
-- time. The triggers of this transaction are not fanned out yet, which an index finds; the one of
-- corrected positions is, and is given.
CREATE OR REPLACE FUNCTION record_load(
    kind text, source text, client text, rows bigint, inserted bigint, changed bigint,
    unchanged bigint, removed bigint, closed bigint, position_trigger bigint,
    reverts bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO loads
        (kind, source, client, rows, inserted, changed, unchanged, removed, closed, trigger_ids,
         reverts, moment_id)
    VALUES
        (record_load.kind, left(record_load.source, 4096), left(record_load.client, 300),
         record_load.rows, record_load.inserted, record_load.changed, record_load.unchanged,
         record_load.removed, record_load.closed,
         ARRAY(SELECT t.trigger_id FROM reprocessing_triggers t
               WHERE t.fanned_out_at IS NULL AND t.xmin = pg_current_xact_id()::xid
               UNION
               SELECT record_load.position_trigger
               WHERE record_load.position_trigger IS NOT NULL
               ORDER BY 1),
         record_load.reverts,
         (SELECT m.moment_id FROM moments m
          WHERE m.xid = pg_current_xact_id()
            AND (EXISTS (SELECT FROM replaced_prices r WHERE r.moment_id = m.moment_id)
                 OR EXISTS (SELECT FROM replaced_rates r WHERE r.moment_id = m.moment_id)
                 OR EXISTS (SELECT FROM replaced_records r WHERE r.moment_id = m.moment_id))))
    RETURNING load_id;
END;

REVOKE ALL ON FUNCTION record_load FROM PUBLIC;
