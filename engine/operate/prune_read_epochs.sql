-- Note which epoch each position published at the floor, if it is not its first. Only those
-- positions have rows of earlier epochs.
INSERT INTO floor_epochs
SELECT position_id, published_epoch
FROM publications_at(:floor::timestamptz)
WHERE published_epoch > 0
