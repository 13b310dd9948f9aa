-- The first of the given portfolios, and of the securities, that does not exist; NULL: all do.
SELECT (SELECT min(p) FROM unnest(:portfolios::text[]) AS p
        WHERE p NOT IN (SELECT portfolio_id FROM portfolios)) AS portfolio,
       (SELECT min(s) FROM unnest(:securities::text[]) AS s
        WHERE s NOT IN (SELECT security_id FROM instruments)) AS security
