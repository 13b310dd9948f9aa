-- Wait until no other transaction confirms the same price or rate. A lock and not a row: there may
-- be no confirmation of it yet.
SELECT pg_advisory_xact_lock(
    hashtextextended(:kind || E'\n' || :subject || E'\n' || :date::date::text, 6120447390815523))
