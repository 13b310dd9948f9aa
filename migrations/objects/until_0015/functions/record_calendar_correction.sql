-- Insert the CALENDAR triggers for business dates that were put into the opened days of a calendar,
-- or taken out of them (taken).
--
-- The dates themselves concern every position of the calendar. Besides, a date counts in the age of
-- every price and rate that is older than it: for the days up to the next price of the security (or
-- rate of the pair), and not beyond its limit, because what is older than that stays too old. A
-- security whose price of the next day is there is not concerned. A rate that is carried across the
-- date concerns every position of the calendar.
--
-- Two cases would need more than that, and are rare: many dates at once, and a date before the
-- first one of the calendar, since a price of before the first business day is too old. Then all
-- later days are affected.
CREATE OR REPLACE FUNCTION record_calendar_correction(calendar text, days date[], taken boolean)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    own datemultirange := (
        SELECT range_agg(daterange(d, d, '[]')) FROM unnest(days) AS d);
    first date := (SELECT min(d) FROM unnest(days) AS d);
BEGIN
    IF cardinality(days) > 20 OR NOT EXISTS (
        SELECT FROM business_dates WHERE calendar_id = calendar AND business_date < first) THEN
        INSERT INTO reprocessing_triggers (kind, calendar_id, moment_id, dates, withdrawn)
        VALUES ('CALENDAR', calendar, current_moment(), datemultirange(daterange(first, NULL)),
                CASE WHEN taken THEN own ELSE '{}' END);
        RETURN;
    END IF;
    WITH rates AS (
        SELECT range_agg(daterange(d.day, LEAST(r.next, d.last), '()')) AS dates
        FROM (
            SELECT u.day,
                   business_day_after(calendar, u.day, p.fx_max_age_sessions + 1) + 1 AS last,
                   business_day_after(calendar, u.day, -(p.fx_max_age_sessions + 2)) AS oldest
            FROM unnest(days) AS u (day) CROSS JOIN valuation_policy p
        ) d
        CROSS JOIN LATERAL (
            SELECT max(f.rate_date) FILTER (WHERE f.rate_date < d.day) AS previous,
                   min(f.rate_date) FILTER (WHERE f.rate_date >= d.day) AS next
            FROM fx_rates f
            GROUP BY f.base_currency, f.quote_currency
        ) r
        WHERE r.previous >= COALESCE(d.oldest, '-infinity')
          AND business_day_after(calendar, d.day, 1)
              < COALESCE(LEAST(r.next, d.last), 'infinity')
    )
    INSERT INTO reprocessing_triggers (kind, calendar_id, moment_id, dates, withdrawn)
    SELECT 'CALENDAR', calendar, current_moment(), own + COALESCE(dates, '{}'),
           CASE WHEN taken THEN own ELSE '{}' END
    FROM rates;
    INSERT INTO reprocessing_triggers (kind, calendar_id, security_id, moment_id, dates)
    SELECT 'CALENDAR', calendar, carried.security_id, current_moment(), carried.dates
    FROM (
        SELECT h.security_id,
               range_agg(daterange(d.day, carried_to.day, '()')) AS dates
        FROM unnest(days) AS d (day)
        CROSS JOIN (
            SELECT DISTINCT i.security_id, i.max_price_age_sessions
            FROM position_state p
            JOIN calendars c USING (calendar_no)
            JOIN instruments i USING (security_id)
            WHERE c.calendar_id = calendar
        ) h
        CROSS JOIN LATERAL (
            SELECT min(m.price_date) AS price_date FROM market_prices m
            WHERE m.security_id = h.security_id AND m.price_date >= d.day
        ) next
        CROSS JOIN LATERAL (
            SELECT LEAST(next.price_date, business_day_after(
                calendar, d.day, h.max_price_age_sessions + 1) + 1) AS day
        ) carried_to
        WHERE business_day_after(calendar, d.day, 1) < COALESCE(carried_to.day, 'infinity')
          AND EXISTS (SELECT FROM market_prices m
                      WHERE m.security_id = h.security_id AND m.price_date < d.day)
        GROUP BY h.security_id
    ) carried
    ORDER BY carried.security_id;
END $$;

REVOKE ALL ON FUNCTION record_calendar_correction FROM PUBLIC;
