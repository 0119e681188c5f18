//! Banks as files: JSONL and CSV, one row an entry, the same columns in both.
