"""What magics print about tasks, pools and the session."""
