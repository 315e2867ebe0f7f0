"""What is loaded, and how fast, when a module of the project is imported in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from sources import modules

# Forks a bare interpreter once for each module: as fresh as a new process, and many times quicker.
EACH_ALONE = """
import importlib, json, os, sys, traceback
failures = {}
for name in json.loads(sys.stdin.read()):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if text or status:
        failures[name] = text or f"ended with status {status}"
print(json.dumps(failures))
"""
LOADED = "import sys; before = set(sys.modules); import {}; print(*sorted(set(sys.modules) - before))"


def loaded_by(module: str) -> set[str]:
    """The modules that importing one loads, in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", LOADED.format(module)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_each_module_imports_alone():
    """Any module can be the first that a program imports."""
    # __main__ modules run programs when they are imported.
    names = [module.name for module in modules() if not module.name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", EACH_ALONE], input=json.dumps(names), capture_output=True, text=True, check=True
    )
    failures = json.loads(done.stdout)
    assert failures == {}, "\n\n".join(f"{name}:\n{text}" for name, text in failures.items())


def test_import_shoal_loads_nothing_else():
    """`import shoal` loads no other module of Shoal and nothing from outside the standard library."""
    loaded = {name.partition(".")[0] for name in loaded_by("shoal") if name != "shoal"}
    assert "shoal" not in {name for name in loaded_by("shoal") if name.startswith("shoal.")}
    assert loaded - {"shoal"} <= set(sys.stdlib_module_names)


def test_import_shoal_is_quick():
    """`import shoal` takes less than 20 ms, the best of three."""
    timed = "import time; t = time.perf_counter(); import shoal; print(time.perf_counter() - t)"
    times = [float(subprocess.check_output([sys.executable, "-c", timed])) for _ in range(3)]
    assert min(times) < 0.02


@pytest.mark.parametrize("module", ["shoal.session", "shoal.pool.server", "shoal.cli"])
def test_the_runtime_runs_without_jupyter(module: str):
    """Sessions, pools and the command line load no package of Jupyter."""
    roots = {name.partition(".")[0] for name in loaded_by(module)}
    assert (
        roots & {"IPython", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "tornado", "traitlets"}
        == set()
    )


def test_a_worker_loads_little():
    """A worker loads neither session nor configuration nor providers, and nothing that only people need."""
    loaded = loaded_by("shoal.node.worker")
    unwanted = ("session", "config", "apps", "cli", "executors", "pool", "graph", "blocks", "record")
    assert {name for name in loaded if name.startswith(tuple(f"shoal.{part}" for part in unwanted))} == set()
    assert {name.partition(".")[0] for name in loaded} & {"rich", "fsspec", "platformdirs", "psutil", "zmq"} == set()
