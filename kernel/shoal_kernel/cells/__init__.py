"""Each kind of cell that becomes tasks."""
