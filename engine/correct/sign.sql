-- Say who makes the changes of this transaction and why (NULL: no reason), unless it is said
-- already; return the time. The corrections that it records take both as the defaults of their
-- columns.
SELECT set_config(
           'revalue.why',
           CASE WHEN NULLIF(current_setting('revalue.who', true), '') IS NULL
                THEN COALESCE(:why, '')
                ELSE current_setting('revalue.why', true) END,
           true) AS why,
       set_config(
           'revalue.who',
           COALESCE(NULLIF(current_setting('revalue.who', true), ''), :who),
           true) AS who,
       clock_timestamp() AS at
