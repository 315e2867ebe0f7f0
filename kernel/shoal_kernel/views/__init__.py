"""The live graph, and the pages that look."""
