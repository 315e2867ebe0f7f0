"""The executors that must all keep the same promises, each as the configuration of a session with two workers."""

from __future__ import annotations

import functools
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.executors.adapter import ConcurrentExecutor
from shoal.executors.ipyparallel import IPyParallelExecutor


def threads(folder: Path) -> shoal.Config:
    """Threads of this process."""
    return shoal.Config(executors=(shoal.ThreadPoolExecutor(max_threads=2),), run_dir=str(folder))


def pool(folder: Path) -> shoal.Config:
    """A pool of worker processes."""
    return shoal.Config(executors=(shoal.HighThroughputExecutor(max_workers_per_node=2),), run_dir=str(folder))


def new_processes() -> futures.ProcessPoolExecutor:
    """The standard library's processes; not forked from this one, which has threads."""
    return futures.ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"))


def new_threads() -> futures.ThreadPoolExecutor:
    """The standard library's threads."""
    return futures.ThreadPoolExecutor(2)


def adapted_processes(folder: Path) -> shoal.Config:
    """The adapter over processes."""
    executor = ConcurrentExecutor(executor=new_processes, label="processes", max_workers=2)
    return shoal.Config(executors=(executor,), run_dir=str(folder))


def adapted_threads(folder: Path) -> shoal.Config:
    """The adapter over threads of another library."""
    executor = ConcurrentExecutor(executor=new_threads, label="foreign threads", max_workers=2)
    return shoal.Config(executors=(executor,), run_dir=str(folder))


def engines(folder: Path) -> shoal.Config:
    """Engines of a cluster of ipyparallel that is running already."""
    executor = IPyParallelExecutor(connection_file=running_cluster()[1])
    return shoal.Config(executors=(executor,), run_dir=str(folder))


Maker = Callable[[Path], shoal.Config]

MAKERS: dict[str, Maker] = {
    "threads": threads,
    "pool": pool,
    "adapted processes": adapted_processes,
    "adapted threads": adapted_threads,
    "ipyparallel": engines,
}

SHARED = {"threads"}
STOPPABLE = {"pool"}


@functools.cache
def running_cluster() -> tuple[Any, str]:
    """A cluster with two engines, and its connection file. Stopped by ``stop_cluster``."""
    import ipyparallel

    folder = tempfile.mkdtemp(prefix="shoal-ipp-")
    cluster = ipyparallel.Cluster(n=2, profile_dir=folder, log_level=30)
    cluster.start_cluster_sync()
    file = Path(folder, "security", f"ipcontroller-{cluster.cluster_id}-client.json")
    client = ipyparallel.Client(str(file), timeout=30)
    by = time.monotonic() + 60
    while len(client.ids) < 2:
        assert time.monotonic() < by, "the engines do not come up"
        time.sleep(0.1)
    client.close()
    return cluster, str(file)


def stop_cluster() -> None:
    """Stop the cluster, if a test has started it."""
    if running_cluster.cache_info().currsize:
        cluster, _ = running_cluster()
        running_cluster.cache_clear()
        cluster.stop_cluster_sync()
        shutil.rmtree(cluster.profile_dir, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _cluster_ends() -> Iterator[None]:
    """The cluster that tests connect to ends with them."""
    yield
    stop_cluster()


@pytest.fixture(scope="module", params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    """The executor at hand, by name."""
    return str(request.param)


@pytest.fixture(scope="module")
def session(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[shoal.Session]:
    """One session an executor, for all tests of a file that do not end it."""
    loaded = shoal.load(MAKERS[kind](tmp_path_factory.mktemp("runs")))
    yield loaded
    shoal.clear()


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def maker(request: pytest.FixtureRequest) -> Maker:
    """Makes the configuration of each executor, for tests that load it themselves."""
    made: Maker = request.param
    return made


@pytest.fixture
def threads_maker() -> Maker:
    """Makes a configuration that loads at once."""
    return threads


@pytest.fixture
def every_maker() -> dict[str, Maker]:
    """All of them, by name."""
    return MAKERS


@pytest.fixture
def shared(kind: str) -> bool:
    """Whether a task gets the very objects of its caller."""
    return kind in SHARED


@pytest.fixture
def stoppable(kind: str) -> bool:
    """Whether a task that runs can be stopped."""
    return kind in STOPPABLE
