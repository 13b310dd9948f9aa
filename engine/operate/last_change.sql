-- What tells whether a position can have stopped being current since: the last moment, the
-- revisions of the calendars, and whether a trigger is queued. read_at: the time of this answer.
--
-- Every correction, new position, opening and manual retry changes one of them, in its own
-- transaction. All else leads towards being current.
SELECT clock_timestamp() AS read_at, (SELECT max(at) FROM moments) AS last_moment,
       (SELECT concat_ws(' ', count(*), sum(revision)) FROM calendars) AS calendars,
       EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS is_queued
