"""The shell around the graph machine."""

from shoal.engine.engine import Engine
from shoal.engine.retrying import RetryPolicy

__all__ = ["Engine", "RetryPolicy"]
