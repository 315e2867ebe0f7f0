"""The magics, their help and their completion."""
