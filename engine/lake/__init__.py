"""The lake: Parquet files of valuations in a folder or in S3."""
