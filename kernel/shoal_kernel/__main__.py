"""``python -m shoal_kernel -f FILE``: the kernel "Python 3 (Shoal)", ipykernel with the extension loaded."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

if __name__ == "__main__":
    # Not as an extension by name: a notebook's own %load_ext would then say that it is loaded already.
    load = "__import__('shoal_kernel').load_ipython_extension(get_ipython())"
    IPKernelApp.launch_instance(exec_lines=[load])
