-- What there is to do for the steps that create jobs.
--
-- It is asked at the beginning of each turn, and each part of it is one look-up: an idle scheduler
-- does nothing else. calendars: the revision of each one; it changes with every change of business
-- dates and of what is opened. retry_in: seconds until the next deferred job is due (negative:
-- overdue), NULL: none is deferred.
SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS has_triggers,
       EXISTS (SELECT FROM unstaged_positions) AS has_unstaged,
       COALESCE((SELECT string_agg(calendar_no || ' ' || revision, ', ' ORDER BY calendar_no)
                 FROM calendars), '') AS calendars,
       extract(epoch FROM (SELECT min(not_before) FROM deferred_jobs) - clock_timestamp()
           )::double precision AS retry_in
