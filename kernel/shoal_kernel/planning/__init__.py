"""What a cell takes along, what it brings back, and what it needs: its names held against the variables of the notebook."""
