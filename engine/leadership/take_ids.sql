-- Advance a sequence by :size ids; the last value handed out is returned.
SELECT setval(:sequence::regclass, nextval(:sequence::regclass) + :size::bigint)
