"""The measurements themselves, run in a process of their own on a system that is up."""
