"""What is kept of runs: the append-only log and the views made from it."""
