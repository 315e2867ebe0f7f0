"""What the text of a cell says of its names. PURE."""
