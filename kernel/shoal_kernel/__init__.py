"""The notebook side of Shoal: ``%load_ext shoal_kernel`` adds ``%%task``, ``%%parallel``, ``%tasks``, ``%graph`` and others.

Workers import parts of this package, so that it loads nothing of Jupyter before the extension is loaded.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Called by ``%load_ext shoal_kernel``.

    Args:
        shell: the running IPython shell.
    """
    from shoal_kernel.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Called by ``%unload_ext shoal_kernel``.

    Args:
        shell: the running IPython shell.
    """
    from shoal_kernel.extension import unload

    unload(shell)
