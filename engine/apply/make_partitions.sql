-- Make the partitions of snapshots that are missing for opened days.
--
-- Opening a day makes its partition; this is for one that somebody has dropped since.
SELECT make_snapshot_partitions()
