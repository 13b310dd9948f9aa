-- Take out of unstaged_positions the entries of which every position is staged, or has a calendar
-- of which nothing is opened.
--
-- An entry that another transaction commits meanwhile is not seen, and stays. Whatever makes a
-- position unstaged adds an entry of its own, so one that is seen to be done never becomes undone.
DELETE FROM unstaged_positions n
WHERE NOT EXISTS (
    SELECT FROM position_state p
    JOIN calendars c USING (calendar_no)
    WHERE p.position_id BETWEEN n.first_position_id AND n.last_position_id
      AND (p.staged_epoch <> p.epoch OR p.frontier_date IS NULL)
      AND c.opened_through IS NOT NULL
)
