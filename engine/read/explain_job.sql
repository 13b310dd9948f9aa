-- The job that wrote the row of a position and date, with its trigger; one row, whose columns are
-- NULL if the job is pruned.
SELECT j.status::text AS job_status, j.attempt_count, j.created_at AS job_created_at,
       j.finished_at, j.term, j.first_date, j.last_date, j.trigger_id, t.kind AS trigger_kind,
       t.dates AS trigger_dates, t.created_at AS trigger_created_at,
       COALESCE(t.who, t.database_user) AS corrected_by, t.why
FROM (SELECT) one
LEFT JOIN job_spans j
  ON j.job_id = :job AND j.position_id = :position
 AND :date::date BETWEEN j.first_date AND j.last_date
LEFT JOIN reprocessing_triggers t ON t.trigger_id = j.trigger_id
