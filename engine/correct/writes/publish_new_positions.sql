-- Publish the incoming positions that are open on no date. All other new positions are published by
-- extend_histories. Without a publication, readers of the past would not find the position that
-- readers of the present find.
INSERT INTO publications (position_id, moment_id, epoch, open_dates, hidden)
SELECT p.position_id, (SELECT current_moment()), p.published_epoch, p.published_open_dates,
       p.published_hidden
FROM position_state p
WHERE (p.portfolio_id, p.security_id) IN (SELECT portfolio_id, security_id FROM incoming)
  AND isempty(p.published_open_dates)
  AND NOT EXISTS (SELECT FROM publications w WHERE w.position_id = p.position_id)
