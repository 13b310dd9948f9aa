-- A text that differs whenever an answer about the present of a portfolio differs, and the last
-- commit that changed what readers see. version is NULL while a queued trigger concerns the
-- portfolio or something of it is being valued: then rows can appear at any time. No row: there is
-- no such portfolio.
--
-- It is much cheaper than any such answer. Every step but apply raises the revision of a position,
-- or of the calendar, and apply needs something pending: as long as nothing is, equal sums mean
-- that no row was touched. Dates that failed stay pending, and nothing comes of them without a
-- retry: they, and the failures, are part of the text.
WITH positions AS MATERIALIZED (
    SELECT p.position_id, p.epoch, p.published_epoch, p.revision, p.pending
    FROM position_state p
    WHERE p.portfolio_id = :portfolio
), summed AS (
    SELECT concat_ws(
               ' ', count(*), sum(p.revision), sum(p.published_epoch),
               string_agg(p.position_id || p.pending::text || f.letters, ' ' ORDER BY p.position_id)
                   FILTER (WHERE NOT isempty(p.pending))) AS text,
           COALESCE(bool_or(NOT isempty(p.pending - COALESCE(f.dates, '{}'))), false) AS is_valued
    FROM positions p
    LEFT JOIN LATERAL (
        SELECT range_agg(daterange(j.first_date, j.last_date, '[]')) AS dates,
               string_agg(d.dead_letter_id::text, ',' ORDER BY d.dead_letter_id) AS letters
        FROM dead_letters d
        JOIN portfolio_valuation_jobs j USING (job_id)
        WHERE NOT isempty(p.pending) AND d.position_id = p.position_id AND d.requeued_at IS NULL
          AND j.epochs[1] = p.epoch AND j.status = 'FAILED' AND j.valued_through IS NULL
    ) f ON true
)
SELECT CASE WHEN NOT s.is_valued
                 AND NOT (EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
                          AND EXISTS (SELECT FROM queued_positions k
                                      JOIN positions p USING (position_id)))
            THEN concat_ws(' ', f.portfolio_id, c.revision, s.text) END AS version,
       (SELECT max(at) FROM moments) AS known_at
FROM portfolios f
JOIN calendars c USING (calendar_id)
CROSS JOIN summed s
WHERE f.portfolio_id = :portfolio
