"""The lake: snapshots as Parquet files, recorded by the transaction that finishes their jobs."""
