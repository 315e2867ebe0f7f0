"""What a restart of the kernel leaves, and bringing it back."""
