-- Open a calendar through a business date. A database trigger checks and records it.
UPDATE calendars SET opened_through = :day WHERE calendar_id = :calendar
