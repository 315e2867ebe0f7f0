"""What happens around each cell: waiting for values, lending them, interrupts."""
