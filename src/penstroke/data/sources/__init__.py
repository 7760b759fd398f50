"""What can be imported: folders, zips, tables, arrays, Parquet; each becomes a `Listing`."""
