-- How many incoming rows are on the pages from :first_page to the one before :next_page.
SELECT count(*)
FROM incoming
WHERE ctid >= format('(%s,0)', :first_page::bigint)::tid
  AND ctid < format('(%s,0)', :next_page::bigint)::tid
