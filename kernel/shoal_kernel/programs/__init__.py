"""Programs that run notebooks, Shoal's own among them."""
