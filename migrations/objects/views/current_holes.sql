-- The dates of each position that are scheduled and have no value, with the reason of each.
--
-- position_holes keeps what every job found. The newest epoch that found something about a date
-- counts, and only while the date is still a hole. first_date: the first of the dates.
CREATE OR REPLACE VIEW current_holes AS
SELECT position_id, job_id, epoch, reason, subject, dates, lower(dates) AS first_date,
       upper(dates) - 1 AS last_date
FROM (
    SELECT h.position_id, h.job_id, h.epoch, h.reason, h.subject,
           p.holes * datemultirange(daterange(h.first_date, h.last_date, '[]'))
           - COALESCE((SELECT range_agg(daterange(n.first_date, n.last_date, '[]'))
                       FROM position_holes n
                       WHERE n.position_id = h.position_id AND n.epoch > h.epoch), '{}') AS dates
    FROM position_state p
    JOIN position_holes h USING (position_id)
    WHERE NOT isempty(p.holes)
) found
WHERE NOT isempty(dates);
