"""One page, figure or table of the report a file."""
