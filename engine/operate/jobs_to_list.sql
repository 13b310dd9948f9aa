-- The jobs that one page lists, the newest first, with the places of the spans to look at: from
-- first_places to last_places, both included. And up to where that is complete: up to job `since`,
-- or in it up to the span of since_position that begins on since_date; NULL: there are no more.
-- looked_at: how many jobs were looked at, at most :most. There is always one row.
--
-- It begins behind the span of :position that begins on :first_date of job :job; NULL: with that
-- job. firsts, lasts: ranges of positions outside of which nothing fits; NULL: there are none.
--
-- source: where the jobs are looked for, each in an index of its own.
-- newest      among all
-- open        among those of which something is left to do
-- incomplete  among those with :status that ended without being complete
-- positions   among those whose range of positions meets the ranges; they are found in no order, so
--             if there are :most, none is listed
--
-- A job fits by its status, and by its range of positions; a span of an unfinished job can be
-- superseded. Of the spans, those between the first and the last position are looked at, :spans in
-- all. Reading the arrays of a job takes time too: of :read_spans in all, without those of job :job
-- if a page before shows a part of it. positions, and the dates of one position, are in order, so a
-- place is found by halving (width_bucket).
WITH wanted AS MATERIALIZED (
    SELECT range_agg(int8range(first, last, '[]')) AS ranges, min(first) AS first,
           max(last) AS last
    FROM unnest(:firsts::bigint[], :lasts::bigint[]) AS r (first, last)
), looked_at AS MATERIALIZED (
    (SELECT job_id, status, position_range, span_count, positions, first_dates
     FROM portfolio_valuation_jobs
     WHERE :source::text = 'newest' AND job_id <= :job
     ORDER BY job_id DESC
     LIMIT :most)
    UNION ALL
    (SELECT job_id, status, position_range, span_count, positions, first_dates
     FROM portfolio_valuation_jobs
     WHERE :source::text = 'open' AND is_open AND job_id <= :job
     ORDER BY job_id DESC
     LIMIT :most)
    UNION ALL
    (SELECT job_id, status, position_range, span_count, positions, first_dates
     FROM portfolio_valuation_jobs
     WHERE :source::text = 'incomplete'
       AND status IN ('SKIPPED_NO_POSITION', 'WAITING_FOR_DATA', 'FAILED')
       AND status = :status::text::valuation_job_status AND job_id <= :job
     ORDER BY job_id DESC
     LIMIT :most)
    UNION ALL
    (SELECT job_id, status, position_range, span_count, positions, first_dates
     FROM portfolio_valuation_jobs
     WHERE :source::text = 'positions' AND position_range && (SELECT ranges FROM wanted)
       AND job_id <= :job
     LIMIT :most)
), fitting AS MATERIALIZED (
    SELECT job_id, span_count, positions, first_dates,
           COALESCE(sum(CASE WHEN job_id < :job OR :position::bigint IS NULL
                                     THEN span_count ELSE 0 END) OVER (
               ORDER BY job_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
               AS spans_before
    FROM looked_at
    WHERE (:status::text IS NULL OR status = :status::text::valuation_job_status
           OR (:status::text = 'SUPERSEDED' AND status IN ('PENDING', 'PROCESSING')))
      AND (:firsts::bigint[] IS NULL OR position_range && (SELECT ranges FROM wanted))
      AND (:source::text <> 'positions' OR (SELECT count(*) FROM looked_at) < :most)
), placed AS (
    SELECT f.job_id, GREATEST(r.first_place, b.first_place) AS first_place, r.last_place
    FROM fitting f
    CROSS JOIN wanted w
    CROSS JOIN LATERAL (
        SELECT CASE WHEN w.first IS NULL THEN 1
                    ELSE width_bucket(w.first - 1, f.positions) + 1 END AS first_place,
               CASE WHEN w.last IS NULL THEN f.span_count
                    ELSE width_bucket(w.last, f.positions) END AS last_place
    ) r
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.job_id = :job AND :position::bigint IS NOT NULL
                    THEN width_bucket(:position::bigint - 1, f.positions) + 1 END AS place
    ) p
    CROSS JOIN LATERAL (
        SELECT CASE WHEN p.place IS NULL THEN 1
                    ELSE p.place + width_bucket(
                        :first_date::date,
                        f.first_dates[p.place:width_bucket(:position::bigint, f.positions)])
                    END AS first_place
    ) b
    WHERE f.spans_before < :read_spans
), counted AS MATERIALIZED (
    SELECT job_id, first_place, last_place,
           COALESCE(sum(GREATEST(last_place - first_place + 1, 0)) OVER (
               ORDER BY job_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::integer
               AS spans_before
    FROM placed
), taken AS MATERIALIZED (
    SELECT job_id, first_place,
           LEAST(last_place, first_place + :spans - spans_before - 1) AS last_place,
           last_place > first_place + :spans - spans_before - 1 AS is_cut
    FROM counted
    WHERE spans_before < :spans
), ending AS (
    SELECT t.job_id, CASE WHEN t.is_cut THEN t.last_place END AS place
    FROM taken t
    WHERE t.is_cut OR (SELECT count(*) FROM taken) < (SELECT count(*) FROM fitting)
    ORDER BY t.job_id
    LIMIT 1
)
SELECT a.*, l.looked_at, COALESCE(e.job_id, l.since) AS since,
       j.positions[e.place] AS since_position, j.first_dates[e.place] AS since_date
FROM (
    SELECT COALESCE(array_agg(job_id ORDER BY job_id DESC), '{}') AS jobs,
           COALESCE(array_agg(first_place ORDER BY job_id DESC), '{}') AS first_places,
           COALESCE(array_agg(last_place ORDER BY job_id DESC), '{}') AS last_places
    FROM taken
) a
CROSS JOIN (
    SELECT count(*) AS looked_at, CASE WHEN count(*) = :most THEN min(job_id) END AS since
    FROM looked_at
) l
LEFT JOIN ending e ON true
LEFT JOIN portfolio_valuation_jobs j ON j.job_id = e.job_id AND e.place IS NOT NULL
