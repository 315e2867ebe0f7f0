"""The task graph as a pure machine: events in, commands out; no time, no threads, no I/O."""
