"""Data sets: loading, importing, downloading, the sealed test split."""
