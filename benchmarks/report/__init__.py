"""docs/performance.md and its pictures, made from the records: a module for a group of sections."""
