"""``python -m shoal_kernel -f FILE``: the kernel "Python 3 (Shoal)", ipykernel with the extension loaded."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

if __name__ == "__main__":
    IPKernelApp.launch_instance(extra_extensions=["shoal_kernel"])
