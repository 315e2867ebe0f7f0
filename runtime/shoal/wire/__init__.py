"""The wire: which messages exist (``messages``) and how they become frames (``frames``). No I/O."""
