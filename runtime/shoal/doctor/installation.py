"""The installation: versions, the lab extension, the server extension, the kernelspec, the pools' folder.

The parts of Jupyter are looked up by name and never imported here, so that it runs where only the core is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from shoal.doctor.finding import Finding
from shoal.errors import ConfigurationError
from shoal.pool.connection import pools_folder

__all__ = ["examine"]

_LAB = ("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "bokeh")
_INSTALL_LAB = "pip install 'shoal[lab]'"


def examine() -> list[Finding]:
    """Look at everything, in the order in which to mend it."""
    return [
        _python(),
        *_core(),
        *_lab_packages(),
        _labextension(),
        _server_extension(),
        _kernelspec(),
        _pools(),
    ]


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("Python", f"{platform.python_version()} at {sys.executable}", ok, "use Python 3.11 or newer")


def _core() -> list[Finding]:
    try:
        needed = [line for line in requires("shoal") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return [Finding("shoal", "not installed as a package", False, "run 'pip install -e .' in the source folder")]
    names = re.findall(r"^[\w.-]+", "\n".join(needed), re.MULTILINE)
    return [Finding("shoal", version("shoal")), *(_package(name, "pip install shoal") for name in sorted(names))]


def _lab_packages() -> list[Finding]:
    return [_package(name, _INSTALL_LAB) for name in _LAB]


def _package(name: str, fix: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", False, fix)


def _data_folders() -> list[Path]:
    """Where Jupyter looks for extensions and kernels, most local first (its documented search path)."""
    given = [Path(p) for p in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if p]
    home = Path(os.environ.get("JUPYTER_DATA_DIR") or Path.home() / ".local/share/jupyter")
    return [
        *given,
        Path(sys.prefix) / "share/jupyter",
        home,
        Path("/usr/local/share/jupyter"),
        Path("/usr/share/jupyter"),
    ]


def _labextension() -> Finding:
    for folder in _data_folders():
        package = folder / "labextensions/shoal-lab/package.json"
        if package.is_file():
            try:
                found = json.loads(package.read_text())["version"]
            except (OSError, ValueError, KeyError) as error:
                return Finding("lab extension", f"{package}: {error}", False, "reinstall shoal")
            return Finding("lab extension", f"{found} at {package.parent}")
    return Finding("lab extension", "not found", False, _INSTALL_LAB)


def _server_extension() -> Finding:
    what = "server extension"
    if importlib.util.find_spec("shoal_lab") is None:
        return Finding(what, "the package shoal_lab is missing", False, "reinstall shoal")
    folders = [Path(sys.prefix) / "etc/jupyter", Path("/usr/local/etc/jupyter"), Path("/etc/jupyter")]
    for folder in folders:
        for file in sorted((folder / "jupyter_server_config.d").glob("*.json")):
            try:
                enabled = json.loads(file.read_text()).get("ServerApp", {}).get("jpserver_extensions", {})
            except (OSError, ValueError):
                continue
            if "shoal_lab" in enabled:
                on = bool(enabled["shoal_lab"])
                return Finding(
                    what,
                    f"{'enabled' if on else 'disabled'} by {file}",
                    on,
                    "jupyter server extension enable shoal_lab",
                )
    return Finding(what, "not enabled", False, "jupyter server extension enable shoal_lab --sys-prefix")


def _kernelspec() -> Finding:
    for folder in _data_folders():
        if (folder / "kernels/shoal/kernel.json").is_file():
            found = importlib.util.find_spec("shoal_kernel") is not None
            return Finding(
                "kernelspec", str(folder / "kernels/shoal"), found, "reinstall shoal: shoal_kernel is missing"
            )
    return Finding("kernelspec", "'Python 3 (Shoal)' not found", False, _INSTALL_LAB)


def _pools() -> Finding:
    what = "pools folder"
    try:
        return Finding(what, str(pools_folder()))
    except ConfigurationError as error:
        return Finding(what, str(error.value), False, error.fix)
    except OSError as error:
        return Finding(what, str(error), False, "set SHOAL_HOME to a folder of yours that can be written")
