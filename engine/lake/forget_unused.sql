-- Forget files that are deleted.
DELETE FROM lake_unused WHERE path = ANY (:paths::text[])
