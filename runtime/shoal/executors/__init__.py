"""Executors: where ready tasks go. One Protocol (``executor``), one file an implementation."""
