-- What is queued, and the scheduler's term, for a status report.
--
-- calendars_not_opened: calendars of positions of which no business date is opened, so that nothing
-- is due. heartbeat_age_seconds: after the clock was set back, the heartbeat of a dead leader lies
-- in the future.
SELECT (SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL) AS triggers_queued,
       ARRAY(SELECT c.calendar_id FROM calendars c
             WHERE c.opened_through IS NULL
               AND EXISTS (SELECT FROM portfolios f JOIN position_state p USING (portfolio_id)
                           WHERE f.calendar_id = c.calendar_id)
             ORDER BY c.calendar_id) AS calendars_not_opened,
       t.paused_at, t.paused_by, t.term, t.holder,
       abs(extract(epoch FROM clock_timestamp() - t.heartbeat_at))::double precision
           AS heartbeat_age_seconds
FROM scheduler_term t
