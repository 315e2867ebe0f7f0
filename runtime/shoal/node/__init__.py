"""What runs on a compute node: the manager and its workers."""
