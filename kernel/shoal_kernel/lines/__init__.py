"""What the lines of magics say, and the texts of scripts. PURE."""
