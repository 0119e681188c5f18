//! What importing a file would do to a bank: new, changed, same, duplicate, error, row by row.
