"""The messages that cross a link, as one tagged union.

Three kinds of link carry them: client <-> interchange, interchange <-> manager, manager <-> worker. A message is a
msgspec Struct encoded as a msgpack array whose first item is its tag. Payloads inside are opaque bytes to every hop.

The identity of an attempt inside a pool is ``(client, tid, attempt)``: clients number their own tasks, the interchange
assigns ``client`` on acceptance and never trusts the one that came in.

Rule of versions: both sides state ``PROTOCOL_VERSION`` in their first message (:class:`Hello`, :class:`Register`), and
the pool answers :class:`Refused` unless they are equal. A change of any field raises the number.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shoal.outcome import Failure, Payload

__all__ = [
    "PROTOCOL_VERSION",
    "Blob",
    "BlockStatus",
    "Cancel",
    "ClientGone",
    "Goodbye",
    "Heartbeat",
    "Hello",
    "Input",
    "ManagerStatus",
    "Message",
    "NeedBlob",
    "Output",
    "PoolStatus",
    "Ready",
    "Recall",
    "Refused",
    "Register",
    "Result",
    "Results",
    "Returned",
    "Running",
    "RunningAttempt",
    "Scale",
    "Shutdown",
    "StatusRequest",
    "Task",
    "Tasks",
    "Trouble",
    "Welcome",
]

PROTOCOL_VERSION = 2


# --------------------------------------------------------------------------- parts of messages


class Input(msgspec.Struct, array_like=True, gc=False):
    """A value that fills one placeholder of a task's body.

    Args:
        task: the task that made it (for the log and for the held form).
        output: which of that task's outputs.
        payload: the value; None where the pool holds it.
    """

    task: int
    output: int
    payload: Payload | None


class Task(msgspec.Struct, array_like=True):
    """One attempt of one task, ready to run.

    Args:
        tid: the task's number in its session.
        attempt: 1 for the first attempt.
        code: digest of the code blob (:class:`Blob`) that holds the function.
        captures: digest of the captures blob where it travels by digest; empty where inline or none.
        captured: the captures blob itself where it is small; None where by digest or none.
        body: pickled ``(args, kwargs)`` with placeholders; placeholder ``i`` takes ``inputs[i]``.
        inputs: the values of the placeholders.
        outputs: names of the outputs of a task that has several (then its function returns a mapping); empty for one.
        label: the app's name, for logs and messages.
        cores: how many cores it keeps busy.
        priority: higher first.
        walltime: seconds that it may run; 0.0 for as long as it takes.
        memory: bytes that it needs; 0 if it does not say.
        gpus: how many accelerators it needs.
        each: the function is called once for each item of its first argument, a list of argument tuples, and each call
            makes one of the outputs; a call that fails leaves the others alone (:attr:`Result.flaws`).
        client: assigned by the interchange.
    """

    tid: int
    attempt: int
    code: bytes
    captures: bytes
    captured: bytes | None
    body: Payload
    inputs: list[Input] = []
    outputs: list[str] = []
    label: str = ""
    cores: float = 1.0
    priority: int = 0
    walltime: float = 0.0
    memory: int = 0
    gpus: int = 0
    each: bool = False
    client: int = 0


class Result(msgspec.Struct, array_like=True):
    """How one attempt ended.

    Args:
        client, tid, attempt: which attempt.
        values: one payload an output, in the order of ``Task.outputs``; empty on failure.
        failure: why there is no value; None on success.
        worker: who ran it (``host/pid``); empty if it never started.
        started, ended: when, in seconds since the epoch on the worker's clock; 0.0 if it never started.
        flaws: of a task that calls its function for each item: the calls that failed, by index. Their payloads in ``values``
            are empty.
    """

    client: int
    tid: int
    attempt: int
    values: list[Payload]
    failure: Failure | None = None
    worker: str = ""
    started: float = 0.0
    ended: float = 0.0
    flaws: list[tuple[int, Failure]] = []


class RunningAttempt(msgspec.Struct, array_like=True, gc=False):
    """An attempt that has been running for a while (short ones are never announced)."""

    client: int
    tid: int
    attempt: int
    worker: str
    started: float


class BlockStatus(msgspec.Struct, array_like=True):
    """One block as the pool sees it. ``state`` is a name of ``blocks.states.BlockState``."""

    block: int
    state: str
    provider: str
    job: str
    since: float
    message: str = ""


class ManagerStatus(msgspec.Struct, array_like=True):
    """One manager as the pool sees it.

    Args:
        manager, block, host, pid: which, and where.
        slots: how many one-core tasks it runs at once.
        workers: how many of its workers are up.
        running, queued: attempts there, as far as the slots go, and the others.
        silent: seconds since it was last heard.
        memory, memory_free: bytes that its tasks may take in all, and those not spoken for; 0 if unknown.
        gpus, gpus_free: the same of accelerators.
    """

    manager: int
    block: int
    host: str
    pid: int
    slots: int
    workers: int
    running: int
    queued: int
    silent: float
    memory: int = 0
    memory_free: int = 0
    gpus: int = 0
    gpus_free: int = 0


# --------------------------------------------------------------------------- client -> pool


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """First message of a client. Answered by :class:`Welcome` or :class:`Refused`.

    Args:
        protocol: the sender's PROTOCOL_VERSION.
        session: the session's run id; unique, also across restarts. Empty for one that only asks or commands.
        name: for people: which notebook or script.
        python: ``major.minor``.
        pid: the client's process.
    """

    protocol: int
    session: str
    name: str
    python: str
    pid: int


class Tasks(msgspec.Struct, array_like=True, tag="tasks"):
    """Tasks to run: from client to interchange, from interchange to manager, from manager to worker."""

    tasks: list[Task]


class Blob(msgspec.Struct, array_like=True, tag="blob"):
    """Code or captures by digest, sent once down each link before the first task that needs it.

    ``data`` is bytes-like; receivers verify nothing and keep it under ``digest``.
    """

    digest: bytes
    data: Any


class Cancel(msgspec.Struct, array_like=True, tag="cancel"):
    """End these attempts, ``(client, tid, attempt)`` each: what runs is interrupted, and its worker replaced."""

    attempts: list[tuple[int, int, int]]


class StatusRequest(msgspec.Struct, array_like=True, tag="status?"):
    """Ask for a :class:`PoolStatus`; works without :class:`Hello`."""

    ticket: int


class Scale(msgspec.Struct, array_like=True, tag="scale"):
    """Set the number of blocks to aim at (kept within the provider's min and max). Answered by :class:`PoolStatus`."""

    ticket: int
    blocks: int


class Shutdown(msgspec.Struct, array_like=True, tag="shutdown"):
    """End: a pool ends its blocks and itself; a manager ends its workers and itself; a worker ends."""

    reason: str = ""


class Goodbye(msgspec.Struct, array_like=True, tag="goodbye"):
    """A client, or a manager, leaves on purpose."""


# --------------------------------------------------------------------------- pool -> client


class Welcome(msgspec.Struct, array_like=True, tag="welcome"):
    """The pool takes the client (or the manager) in.

    Args:
        pool: the pool's name.
        peer: the number that the pool gave to the client or manager.
    """

    pool: str
    peer: int


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """The pool does not take the client (or the manager) in.

    Args:
        what, here, there: as in :class:`shoal.errors.VersionMismatch`, ``here`` being the pool's side.
    """

    what: str
    here: str
    there: str


class Results(msgspec.Struct, array_like=True, tag="results"):
    """Attempts that ended: from worker to manager to interchange to client."""

    results: list[Result]


class Running(msgspec.Struct, array_like=True, tag="running"):
    """Attempts that have been running for longer than a moment; each is announced once."""

    attempts: list[RunningAttempt]


class Output(msgspec.Struct, array_like=True, tag="output"):
    """Text that a task printed. ``stream`` is ``stdout`` or ``stderr``."""

    client: int
    tid: int
    attempt: int
    stream: str
    text: str


class NeedBlob(msgspec.Struct, array_like=True, tag="blob?"):
    """The sender has no blob of these digests (any more): send them again. Travels towards the client."""

    digests: list[bytes]


class PoolStatus(msgspec.Struct, array_like=True, tag="status"):
    """A pool at one moment.

    Args:
        ticket: of the request.
        name: the pool's name.
        started: seconds since the epoch.
        queued, running, done: numbers of attempts now waiting, now on a manager, and ended since the start.
        target: the number of blocks aimed at.
        blocks, managers: each as its own status.
        clients: names of the clients connected now.
        trouble: the last thing that went wrong; empty if nothing did.
        memory, memory_free, gpus, gpus_free: those of all managers together.
    """

    ticket: int
    name: str
    started: float
    queued: int
    running: int
    done: int
    target: int
    blocks: list[BlockStatus]
    managers: list[ManagerStatus]
    clients: list[str]
    trouble: str = ""
    memory: int = 0
    memory_free: int = 0
    gpus: int = 0
    gpus_free: int = 0


class Trouble(msgspec.Struct, array_like=True, tag="trouble"):
    """Something is wrong that a person should know now; tasks affected get results of their own.

    Args:
        kind: ``block``, ``worker``, ``manager`` or ``protocol``.
        text: a sentence with the reason and the tail of stderr.
        fatal: nothing can run in this pool as things stand.
    """

    kind: str
    text: str
    fatal: bool = False


class ClientGone(msgspec.Struct, array_like=True, tag="client-gone"):
    """To managers: forget the tasks of this client that have not started."""

    client: int


# --------------------------------------------------------------------------- manager -> pool, worker -> manager


class Register(msgspec.Struct, array_like=True, tag="register"):
    """First message of a manager. Answered by :class:`Welcome` or :class:`Refused`.

    Args:
        protocol: the sender's PROTOCOL_VERSION.
        block: the number of the block it belongs to.
        host: the node's name.
        pid: the manager's process.
        python: ``major.minor``.
        slots: how many one-core tasks it runs at once.
        memory: bytes of memory that tasks may take in all; 0 if unknown.
        gpus: accelerators of the node.
    """

    protocol: int
    block: int
    host: str
    pid: int
    python: str
    slots: int
    memory: int = 0
    gpus: int = 0


class Heartbeat(msgspec.Struct, array_like=True, tag="heartbeat"):
    """I am here.

    Args:
        workers: how many workers are up (managers only).
        window: managers hand tasks to their workers in the order in which they came; at most this many attempts that
            have not ended may be with workers at a time. A manager says so before its first worker gets something, and
            before it makes use of a larger window, so that the pool knows which attempts cannot have begun when the
            manager is lost. 0 says nothing.
    """

    workers: int = 0
    window: int = 0


class Recall(msgspec.Struct, array_like=True, tag="recall"):
    """To a manager: give back what no worker has begun. Answered by :class:`Returned`."""


class Returned(msgspec.Struct, array_like=True, tag="returned"):
    """Attempts that a manager gives back, never begun: ``(client, tid, attempt)`` each."""

    attempts: list[tuple[int, int, int]]


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """A worker is up. ``pid`` is its process; it takes one task at a time."""

    pid: int


Message = (
    Hello
    | Tasks
    | Blob
    | Cancel
    | StatusRequest
    | Scale
    | Shutdown
    | Goodbye
    | Welcome
    | Refused
    | Results
    | Running
    | Output
    | NeedBlob
    | PoolStatus
    | Trouble
    | ClientGone
    | Register
    | Heartbeat
    | Recall
    | Returned
    | Ready
)
"""Every message of the protocol."""
