"""What ``%pools`` and ``%shoal`` print, and what ``%use`` and ``%scale`` do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from shoal.card import duration
from shoal.config import Config, load, shoal_version
from shoal.errors import CellError, ConfigurationError
from shoal.events import RunStarted
from shoal.executors.embedded import who
from shoal.executors.htex import HighThroughputExecutor
from shoal.memo.store import default_folder
from shoal.pool.control import PoolInfo, list_pools, scale_pool
from shoal.record.log import LogReader
from shoal.resources import as_text
from shoal.session import Session
from shoal.wire.messages import PoolStatus
from shoal_kernel.notebook.tables import table

__all__ = ["pools_text", "scale_executor", "status_text", "use_pool"]

_HEADS = ("pool", "state", "kind", "process", "blocks", "workers", "queued", "running", "up for", "clients")


def pools_text(now: float) -> str:
    """The pools of this user as a table.

    Args:
        now: seconds since the epoch.
    """
    pools = list_pools()
    if not pools:
        return "no pool is running; start one that lasts with: shoal pool start NAME"
    rows = [_pool(info, now) for info in pools]
    noun = "pool" if len(pools) == 1 else "pools"
    lasting = [info.name for info in pools if info.kind == "lasting" and info.status is not None]
    text = f"{len(pools)} {noun}\n\n{table(_HEADS, rows, right=(3, 5, 6, 7))}"
    hints = [f"%use {lasting[0]} makes the notebook use it"] if lasting else []
    for info in pools:
        hints += _left(info.name, info.status) if info.status is not None else []
    return "\n".join([text, "", *hints]) if hints else text


def _pool(info: PoolInfo, now: float) -> list[object]:
    age = duration(max(0.0, now - info.started))
    status = info.status
    row: list[object] = [info.name, info.state, info.kind, info.pid]
    if status is None:
        return [*row, "", "", "", "", age, ""]
    blocks = f"{sum(block.state == 'running' for block in status.blocks)}/{status.target}"
    workers = sum(manager.workers for manager in status.managers)
    return [*row, blocks, workers, status.queued, status.running, age, ", ".join(status.clients)]


def use_pool(name: str) -> str:
    """Load a session on a pool that lasts; says so.

    Raises:
        CellError: there is no name.
        ShoalError: there is no such pool, or it does not answer.
    """
    if not name or len(name.split()) > 1:
        raise CellError(f"%use takes the name of one pool, and got '{name}'", "write %use NAME; %pools shows the names")
    session = load(Config(executors=[HighThroughputExecutor(label=name, pool=name)]))
    status = session.executors[name].status()
    workers = sum(manager.workers for manager in status.managers)
    text = f"using pool '{name}' with {workers} {'worker' if workers == 1 else 'workers'} (session {session.run_id})"
    return "\n".join([text, *_left(name, status)])


def _left(name: str, status: PoolStatus) -> list[str]:
    """What a pool keeps of earlier kernels of this notebook, in a line; none if that is nothing."""
    count = sum(each.unfinished + each.done for each in status.sessions if each.name == who())
    noun = "task" if count == 1 else "tasks"
    return [f"{name} has {count:,} {noun} of an earlier kernel of this notebook: %attach {name}"] if count else []


def scale_executor(session: Session | None, line: str) -> str:
    """Set the number of blocks of an executor, or of a pool that lasts; says what it aims at.

    Args:
        session: the current one, if there is one.
        line: a number, and the label of an executor or the name of a pool, where there are several.

    Raises:
        ShoalError: it is no number, or there is no such executor or pool, or it has no blocks.
    """
    words = line.split()
    if not 1 <= len(words) <= 2 or not words[0].isdecimal():
        raise CellError(
            f"%scale takes a number of blocks, and got '{line.strip()}'", "write %scale N, or %scale N LABEL"
        )
    blocks, executors = int(words[0]), session.executors if session is not None else {}
    if len(words) == 2 and words[1] not in executors:
        name, target = words[1], scale_pool(words[1], blocks).target
    else:
        label = words[1] if len(words) == 2 else _only_pool(executors)
        executor = executors[label]
        try:
            executor.scale(blocks)
        except ConfigurationError as error:
            raise CellError(f"%scale {line.strip()} cannot be", error.fix) from None
        name, target = label, executor.status().target
    noun = "block" if target == 1 else "blocks"
    text = f"'{name}' aims at {target} {noun}"
    return text if target == blocks else f"{text}; its provider's limits (min_blocks, max_blocks) allow no other number"


def _only_pool(executors: dict[str, Any]) -> str:
    labels = [label for label, executor in executors.items() if executor.kind == "pool"]
    if len(labels) != 1:
        have = f"it has {', '.join(labels)}" if labels else "it has none"
        raise CellError(f"%scale needs one executor with blocks, and of those {have}", "write %scale N LABEL")
    return labels[0]


def status_text(session: Session | None) -> str:
    """Version, session, executors, results kept on disk, settings and how to change them.

    Args:
        session: the current one, if there is one.
    """
    rows = [("Shoal", shoal_version())]
    if session is None:
        rows += [("session", "none yet; shoal.load() or the first task starts one")]
        config: dict[str, Any] = {}
    else:
        started = _started(session)
        config = msgspec.json.decode(started.config) if started is not None else {}
        rows += [
            ("session", session.run_id + (" (ended)" if session.closed else "")),
            ("run folder", str(session.run_dir)),
            ("unfinished", f"{session.pending():,} {'task' if session.pending() == 1 else 'tasks'}"),
        ]
        if started is not None:
            rows += [("running for", duration(time.time() - started.time)), ("Python", started.python)]
        for label, executor in session.executors.items():
            state = "" if executor.usable() else ", not usable"
            busy = f"{executor.outstanding():,} tasks there"
            rows.append((f"executor {label}", f"{executor.kind}, {executor.slots()} slots, {busy}{state}"))
        rows += [("trouble", text) for text in session.trouble]
    rows.append(("kept results", _store(config)))
    rows += [(f"setting {name}", repr(value)) for name, value in config.items() if name not in ("executors", "memo")]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    lines += [
        "",
        "settings are fields of shoal.Config: shoal.load(shoal.Config(retries=2)) begins a session with others",
    ]
    return "\n".join(lines)


def _started(session: Session) -> RunStarted | None:
    for event in LogReader(session.run_dir / "events.log").read():
        if isinstance(event, RunStarted):
            return event
    return None


def _store(config: dict[str, Any]) -> str:
    given = (config.get("memo") or {}).get("folder")
    folder = Path(given).expanduser().absolute() if given else default_folder()
    sizes = [file.stat().st_size for file in folder.glob("??/*") if not file.name.startswith(".")]
    noun = "result" if len(sizes) == 1 else "results"
    return f"{len(sizes):,} {noun}, {as_text(sum(sizes))}, in {folder}"
