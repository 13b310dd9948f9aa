-- The files that were replaced and are not deleted yet. is_old: no reader that began before :hours
-- hours reads them.
SELECT path, since < now() - make_interval(hours => :hours) AS is_old FROM lake_unused
