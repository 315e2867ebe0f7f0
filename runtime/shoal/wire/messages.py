"""The messages that cross a link, as one tagged union.

Three kinds of link carry them: client <-> interchange, interchange <-> manager, manager <-> worker. A message is a
msgspec Struct encoded as a msgpack array whose first item is its tag. Payloads inside are opaque bytes to every hop.

The identity of an attempt inside a pool is ``(client, tid, attempt)``: clients number their own tasks, the interchange
assigns ``client`` on acceptance and never trusts the one that came in.

Rule of versions: both sides state ``PROTOCOL_VERSION`` in their first message (:class:`Hello`, :class:`Register`), and
the pool answers :class:`Refused` unless they are equal. A change of any field raises the number.

Numbers state their bounds, which hold for what is received: what lies outside is no message, so no number from a wire can
make a reader count to infinity. They are far beyond what any machine has.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shoal.outcome import Failure, Payload

__all__ = [
    "PROTOCOL_VERSION",
    "Blob",
    "BlockStatus",
    "Cancel",
    "ClientGone",
    "Goodbye",
    "Heartbeat",
    "Held",
    "HeldTask",
    "Hello",
    "Input",
    "Leaving",
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
    "SessionStatus",
    "Shutdown",
    "Stacks",
    "StacksRequest",
    "StatusRequest",
    "Taken",
    "Task",
    "Tasks",
    "Trouble",
    "Welcome",
]

PROTOCOL_VERSION = 4

_Count = Annotated[int, Meta(ge=0, lt=1 << 31)]
_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_Slots = Annotated[int, Meta(ge=0, le=1 << 16)]
_Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
_Finite = Annotated[float, Meta(ge=0.0, le=1e308)]
_Digest = Annotated[bytes, Meta(max_length=64)]


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
        lend: whether its large values may be lent in shared memory.
        ranks: how many MPI processes it starts; 0 for none.
    """

    tid: _Number
    attempt: _Number
    code: _Digest
    captures: _Digest
    captured: bytes | None
    body: Payload
    inputs: list[Input] = []
    outputs: tuple[str, ...] = ()
    label: str = ""
    cores: _Finite = 1.0
    priority: int = 0
    walltime: _Finite = 0.0
    memory: Annotated[int, Meta(ge=0)] = 0
    gpus: _Count = 0
    each: bool = False
    client: _Number = 0
    lend: bool = False
    ranks: _Slots = 0


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

    client: _Number
    tid: _Number
    attempt: _Number
    values: list[Payload]
    failure: Failure | None = None
    worker: str = ""
    started: _Finite = 0.0
    ended: _Finite = 0.0
    flaws: list[tuple[_Count, Failure]] = []


class RunningAttempt(msgspec.Struct, array_like=True, gc=False):
    """An attempt that has been running for a while (short ones are never announced)."""

    client: _Number
    tid: _Number
    attempt: _Number
    worker: str
    started: _Finite


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


class SessionStatus(msgspec.Struct, array_like=True):
    """A session whose client is away, and what the pool keeps for it.

    Args:
        session: its id, by which it can be claimed.
        name: of its client, for people.
        since: when that left, in seconds since the epoch.
        unfinished: attempts that wait or run.
        done: results that nobody has taken yet.
        nbytes: their size.
    """

    session: str
    name: str
    since: _Finite
    unfinished: _Count
    done: _Count
    nbytes: _Bytes


class HeldTask(msgspec.Struct, array_like=True):
    """An attempt that a lasting pool has for a session.

    Args:
        tid, attempt: which.
        label: the app's name.
        state: ``waiting``, ``sent`` (to a manager; it may be running), ``running`` or ``done`` (its result is on its way).
    """

    tid: _Number
    attempt: _Number
    label: str
    state: str


# --------------------------------------------------------------------------- client -> pool


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """First message of a client. Answered by :class:`Welcome` or :class:`Refused`.

    Args:
        protocol: the sender's PROTOCOL_VERSION.
        session: the session's run id; unique, also across restarts. Empty for one that only asks or commands.
        name: for people: which notebook or script.
        python: ``major.minor``.
        pid: the client's process.
        resume: the session was connected to this pool before: it is to say what it holds of it (:class:`Held`).
        probe: a loan of shared memory, for the pool to try (see :mod:`shoal.arena`); empty if the client lends none.
        claims: it is not the session's own process, which is gone for good: it only takes results.
    """

    protocol: int
    session: str
    name: str
    python: str
    pid: _Count
    resume: bool = False
    probe: bytes = b""
    claims: bool = False


class Tasks(msgspec.Struct, array_like=True, tag="tasks"):
    """Tasks to run: from client to interchange, from interchange to manager, from manager to worker."""

    tasks: list[Task]


class Blob(msgspec.Struct, array_like=True, tag="blob"):
    """Code or captures by digest, sent once down each link before the first task that needs it.

    ``data`` is bytes-like; receivers verify nothing and keep it under ``digest``.
    """

    digest: _Digest
    data: Any


class Cancel(msgspec.Struct, array_like=True, tag="cancel"):
    """End these attempts, ``(client, tid, attempt)`` each: what runs is interrupted, and its worker replaced."""

    attempts: list[tuple[_Number, _Number, _Number]]


class StatusRequest(msgspec.Struct, array_like=True, tag="status?"):
    """Ask for a :class:`PoolStatus`; works without :class:`Hello`."""

    ticket: int


class StacksRequest(msgspec.Struct, array_like=True, tag="stacks?"):
    """Ask what the threads of a pool's processes are doing. Answered by one :class:`Stacks` of each process that is asked.

    Works without :class:`Hello`. The pool passes it on, with a ticket of its own.

    Args:
        ticket: comes back with the answers.
        worker: the one worker that is meant, ``host/pid``; empty for all of them, their managers and the pool.
    """

    ticket: int
    worker: str = ""


class Scale(msgspec.Struct, array_like=True, tag="scale"):
    """Set the number of blocks to aim at (kept within the provider's min and max). Answered by :class:`PoolStatus`."""

    ticket: int
    blocks: _Count


class Shutdown(msgspec.Struct, array_like=True, tag="shutdown"):
    """End: a pool ends its blocks and itself; a manager ends its workers and itself; a worker ends."""

    reason: str = ""


class Goodbye(msgspec.Struct, array_like=True, tag="goodbye"):
    """A client, or a manager, leaves on purpose.

    Args:
        keep: the session will be claimed later: what waits and runs goes on, and results are kept.
    """

    keep: bool = False


class Taken(msgspec.Struct, array_like=True, tag="taken"):
    """So many :class:`Results` have been taken in since :class:`Welcome`: to a pool or a manager that keeps them until then."""

    count: _Count


# --------------------------------------------------------------------------- pool -> client


class Welcome(msgspec.Struct, array_like=True, tag="welcome"):
    """The pool takes the client (or the manager) in.

    Args:
        pool: the pool's name.
        peer: the number that the pool gave to the client or manager.
        keeps: the pool keeps results until they are :class:`Taken`.
        lend: whether large values may be lent, both ways, instead of sent: all are on one host.
    """

    pool: str
    peer: int
    keeps: bool = False
    lend: bool = False


class Held(msgspec.Struct, array_like=True, tag="held"):
    """What a pool has of a session that comes again; sent after the results that were not taken.

    Args:
        known: whether it remembers the session at all.
        tasks: all attempts of it that were accepted and whose results have not been taken.
    """

    known: bool
    tasks: list[HeldTask]


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

    client: _Number
    tid: _Number
    attempt: _Number
    stream: str
    text: str


class NeedBlob(msgspec.Struct, array_like=True, tag="blob?"):
    """The sender has no blob of these digests (any more): send them again. Travels towards the client."""

    digests: list[_Digest]


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
        malformed: how often something came in that was no message, or none for the door where it came.
        sessions: those whose clients are away.
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
    malformed: int = 0
    sessions: list[SessionStatus] = []


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


class Stacks(msgspec.Struct, array_like=True, tag="stacks"):
    """What the threads of some processes are doing: of those of one manager, or of the pool.

    Args:
        ticket: of the request.
        host: the manager's; empty for the pool itself.
        processes: of each its name, with what it is doing, and its stacks as Python writes them.
    """

    ticket: int
    host: str
    processes: list[tuple[str, str]]


class ClientGone(msgspec.Struct, array_like=True, tag="client-gone"):
    """To managers: forget the tasks of this client that have not started."""

    client: _Number


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
        holds: attempts that it has begun, or has results of, from before the pool's process was started again; None for a
            manager that is new.
    """

    protocol: int
    block: _Count
    host: str
    pid: _Count
    python: str
    slots: _Slots
    memory: _Bytes = 0
    gpus: _Slots = 0
    holds: list[tuple[_Number, _Number, _Number]] | None = None


class Heartbeat(msgspec.Struct, array_like=True, tag="heartbeat"):
    """I am here.

    Args:
        workers: how many workers are up (managers only).
        window: managers hand tasks to their workers in the order in which they came; at most this many attempts that
            have not ended may be with workers at a time. A manager says so before its first worker gets something, and
            before it makes use of a larger window, so that the pool knows which attempts cannot have begun when the
            manager is lost. 0 says nothing.
        answer: a manager wants to know whether its pool is still there, and to get this message back.
    """

    workers: _Count = 0
    window: _Count = 0
    answer: bool = False


class Recall(msgspec.Struct, array_like=True, tag="recall"):
    """To a manager: give back what no worker has begun. Answered by :class:`Returned`."""


class Returned(msgspec.Struct, array_like=True, tag="returned"):
    """Attempts that a manager gives back, never begun: ``(client, tid, attempt)`` each.

    To a client: attempts that lack a value which is not being made in the pool. They are to be sent again with it.
    """

    attempts: list[tuple[_Number, _Number, _Number]]


class Leaving(msgspec.Struct, array_like=True, tag="leaving"):
    """A manager's time is nearly up: it shall get nothing more, and be told to end when it has nothing left.

    Args:
        reason: why, for people.
    """

    reason: str


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """A worker is up: it takes one task at a time.

    Args:
        pid: its process.
        page: a manager of the pool's own host says so to the pool, before the worker gets anything: its file descriptor of the
            worker's page, where the pool can read which attempts have begun, also when all are gone.
        diary: where in that page they stand.
    """

    pid: int
    page: int = -1
    diary: int = 0


Message = (
    Hello
    | Tasks
    | Blob
    | Cancel
    | StatusRequest
    | StacksRequest
    | Scale
    | Shutdown
    | Goodbye
    | Taken
    | Welcome
    | Held
    | Refused
    | Results
    | Running
    | Output
    | NeedBlob
    | PoolStatus
    | Stacks
    | Trouble
    | ClientGone
    | Register
    | Heartbeat
    | Recall
    | Returned
    | Leaving
    | Ready
)
"""Every message of the protocol."""
