"""Where in the notebook, and in which session, a cell runs; what its task had."""
