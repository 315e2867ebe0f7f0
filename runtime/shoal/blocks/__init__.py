"""Blocks: the jobs that a pool gets from a provider. ``states`` and ``scaling`` are pure, providers do the asking."""
