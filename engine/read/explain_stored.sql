-- The published row of a position and date, with the job that wrote it and the job's trigger.
SELECT v.*, j.status::text AS job_status, j.attempt_count, j.created_at AS job_created_at,
       j.finished_at, j.term, j.first_date, j.last_date, j.trigger_id, t.kind AS trigger_kind,
       t.dates AS trigger_dates, t.created_at AS trigger_created_at
FROM position_valuations v
LEFT JOIN job_spans j
  ON j.job_id = v.job_id AND j.position_id = v.position_id
 AND v.date BETWEEN j.first_date AND j.last_date
LEFT JOIN reprocessing_triggers t ON t.trigger_id = j.trigger_id
WHERE v.portfolio_id = :portfolio AND v.security_id = :security AND v.date = :date
