"""From paper to table: a form is described, printed, registered on scans, read and reviewed."""
