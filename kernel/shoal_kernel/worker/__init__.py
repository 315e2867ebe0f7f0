"""What runs on workers: cells, elements, and what they show. It needs neither IPython nor a session."""
