-- Wait until no other transaction plans a preview: two plans would use the same negative job ids.
SELECT pg_advisory_xact_lock(:number::bigint)
