"""Tasks on the engines of ipyparallel: a cluster of its own, or a controller that runs already.

The engines need to be able to import Shoal. ipyparallel cannot take back or stop a task that its controller has: cancelling
reaches what still waits here, and is refused for the rest. What a task prints stays with ipyparallel.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shoal.errors import ConfigurationError, PoolLost, PoolStartFailed, ShoalError
from shoal.executors.adapter import Adapter
from shoal.executors.foreign import Foreign, guarded
from shoal.spec import Spec

__all__ = ["Engines", "IPyParallelExecutor"]

_QUIET = 30
"""The logging level of a cluster: warnings and worse."""

_MOST_ENGINES = 1024

_HISTORY = 10_000
"""ipyparallel's client notes each message for ever; the notes are dropped when there are more."""

_PROBE = 2.0
"""Seconds between two questions to the controller."""

_SILENCE = 10.0
"""Seconds without an answer after which the controller is taken for gone."""


class IPyParallelExecutor(Spec, frozen=True, tag="ipyparallel"):
    """Engines of ipyparallel as an executor of a session.

    Args:
        label: its name in the session.
        engines: start a cluster of so many engines, which ends with the session; default: one a core, unless it connects to a
            running controller.
        cluster: the id of a running cluster to connect to.
        profile: the IPython profile; with ``engines`` the one whose configuration says how engines start, else the one whose
            controller is running.
        connection_file: the client connection file of a running controller.
        start_timeout: seconds that controller and engines may take to come up.
    """

    label: str = "ipyparallel"
    engines: int | None = None
    cluster: str | None = None
    profile: str | None = None
    connection_file: str | None = None
    start_timeout: float = 60.0

    def check(self) -> None:
        """Either a cluster of its own or a running one, and positive numbers."""
        self.require(self.label.strip() != "" and self.label.isprintable(), "label", "give it a name")
        many = f"use 1 to {_MOST_ENGINES}"
        self.require(self.engines is None or 1 <= self.engines <= _MOST_ENGINES, "engines", many)
        self.require(self.start_timeout > 0, "start_timeout", "use a number of seconds above 0")
        if self.engines is not None:
            fix = "leave it out to start engines, or leave out engines to connect to a running cluster"
            self.require(self.cluster is None, "cluster", fix)
            self.require(self.connection_file is None, "connection_file", fix)
        if self.connection_file is not None:
            fix = "leave it out: the connection file says all"
            self.require(self.cluster is None and self.profile is None, "connection_file", fix)

    @property
    def starts(self) -> bool:
        """Whether it starts a cluster of its own."""
        return self.engines is not None or not (self.cluster or self.profile or self.connection_file)

    def build(self) -> Adapter:
        """The executor that this describes."""
        return Adapter(Engines(self))


class _View:
    """A client of a controller, with what belongs to it."""

    def __init__(self, client: Any, cluster: Any) -> None:
        self.client, self.cluster = client, cluster
        self._view = client.load_balanced_view()
        self._heard = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._ask, name="shoal-ipyparallel", daemon=True).start()

    def submit(self, function: Any, *args: Any) -> Any:
        """Give a task to the controller."""
        return self._view.apply_async(function, *args)

    def tidy(self) -> None:
        """Drop the client's notes about what is long over."""
        for history in (self.client.history, self._view.history):
            if len(history) > _HISTORY:
                history.clear()

    def silence(self) -> float:
        """Seconds since the controller was last heard."""
        return time.monotonic() - self._heard

    def end(self) -> None:
        """Leave the controller; end it if it was started here."""
        self._over.set()
        self.client.close()
        if self.cluster is not None:
            self.cluster.stop_cluster_sync()

    def _ask(self) -> None:
        """Ask the controller something now and then. A question that nobody answers keeps this thread, and only this."""
        while not self._over.wait(_PROBE):
            guarded(self.client.queue_status)
            self._heard = time.monotonic()


class Engines(Foreign):
    """The engines behind :class:`IPyParallelExecutor`."""

    kind = "ipyparallel"
    eager = True
    idle_look = _PROBE

    def __init__(self, spec: IPyParallelExecutor) -> None:
        super().__init__(spec.label, spec.engines)
        self._spec = spec
        self._folder = Path()
        self._probed = 0.0

    def begin(self, folder: Path) -> None:
        """See to it that there is an ipyparallel. The cluster starts in the background."""
        if find_spec("ipyparallel") is None:
            name = type(self._spec).__name__
            raise ConfigurationError(name, self.label, "it needs ipyparallel: run 'pip install ipyparallel'")
        self._folder = folder

    def make(self) -> _View:
        """Start the cluster, or connect to it, and wait for its engines.

        Raises:
            PoolStartFailed: they do not come up.
        """
        library = import_module("ipyparallel")
        spec, cluster = self._spec, None
        with ExitStack() as undo:
            if spec.starts:
                place = (
                    {"profile": spec.profile} if spec.profile else {"profile_dir": str(self._folder / "ipyparallel")}
                )
                cluster = library.Cluster(n=self.slots, log_level=_QUIET, **place)
                undo.callback(cluster.stop_cluster_sync)
                cluster.start_cluster_sync()
                file = Path(cluster.profile_dir) / "security" / f"ipcontroller-{cluster.cluster_id}-client.json"
            else:
                file = self._connection_file(library)
            client = library.Client(str(file), timeout=spec.start_timeout)
            undo.callback(client.close)
            self._wait_for_engines(client)
            undo.pop_all()
        return _View(client, cluster)

    def _connection_file(self, library: Any) -> Path:
        spec = self._spec
        if spec.connection_file is not None:
            file = Path(spec.connection_file).expanduser()
        else:
            which = {"profile": spec.profile} if spec.profile else {}
            name = f"ipcontroller-{spec.cluster}-client.json" if spec.cluster else "ipcontroller-client.json"
            file = Path(library.Cluster(**which).profile_dir) / "security" / name
        if not file.exists():
            raise PoolStartFailed(self.label, f"no controller of ipyparallel is running: there is no file {file}")
        return file

    def _wait_for_engines(self, client: Any) -> None:
        """Wait until all engines that were asked for, or the first of a running cluster, have come up."""
        wanted = self.slots if self._spec.starts else 1
        by = time.monotonic() + self._spec.start_timeout
        while len(client.ids) < wanted and not self.given_up:
            if time.monotonic() > by:
                came = f"{len(client.ids)} of {wanted} engines came up within {self._spec.start_timeout:.3g} s"
                raise PoolStartFailed(self.label, came)
            time.sleep(0.05)
        self._count(client)

    def _count(self, client: Any) -> None:
        self.slots = max(1, len(client.ids))
        self.window = 2 * self.slots + 1

    def end(self, executor: _View) -> None:
        """Leave the controller; end it if it was started here."""
        executor.end()

    def take_back(self, future: Future[Any]) -> bool:
        """What the controller has cannot be taken back; marking the future alone would be a pretence."""
        return False

    def is_unreadable(self, error: BaseException) -> bool:
        """Errors of engines arrive as their names."""
        return getattr(error, "ename", "") in ("ImportError", "ModuleNotFoundError") or super().is_unreadable(error)

    def check(self, executor: _View) -> ShoalError | None:
        """No engines, or a controller that does not answer."""
        now = time.monotonic()
        if now - self._probed < _PROBE:
            return None
        self._probed = now
        executor.tidy()
        if not executor.client.ids:
            return PoolLost(self.label, "it has no engines any more")
        self._count(executor.client)
        silence = executor.silence()
        return (
            PoolLost(self.label, f"its controller has not answered for {silence:.0f} s") if silence > _SILENCE else None
        )
