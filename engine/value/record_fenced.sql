-- Count the spans that this attempt was not allowed to finish, by cause: abandoned (the job belongs
-- to another attempt by now) or superseded (the position has a newer epoch).
INSERT INTO fenced_attempts (task_id, jobs_abandoned, jobs_superseded)
VALUES (:task, :abandoned, :superseded)
