"""What a benchmark measures is said in docs/performance.md."""
