"""The views: what the panel gets to see, and how what it sends is read."""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import msgspec
import pytest

from shoal.errors import ConfigurationError, PoolExists, PoolNotFound, PoolUnreachable
from shoal.wire.messages import BlockStatus, ManagerStatus, PoolStatus
from shoal_lab import views


class Info(NamedTuple):
    """A pool as the control of pools tells of it."""

    name: str
    kind: str = "lasting"
    state: str = "up"
    pid: int = 7
    python: str = "3.11"
    started: float = 5.0
    owner: str = ""
    clients: list[str] = []
    status: PoolStatus | None = None


STATUS = PoolStatus(
    ticket=1,
    name="a",
    started=5.0,
    queued=3,
    running=2,
    done=9,
    target=2,
    blocks=[BlockStatus(1, "running", "local", "123", 5.5)],
    managers=[ManagerStatus(1, 1, "here", 8, 2, 2, 2, 1, 0.5), ManagerStatus(2, 1, "there", 9, 4, 3, 0, 0, 0.5)],
    clients=["tour.ipynb"],
    trouble="once",
)


class Control(types.SimpleNamespace):
    """Stands in for ``shoal.pool.control`` and notes what is asked of it."""

    def __init__(self, *infos: Info) -> None:
        super().__init__(infos=list(infos), asked=[])

    def list_pools(self) -> list[Info]:
        return self.infos

    def start_pool(self, name: str, **options: Any) -> None:
        self.asked.append(("start", name, options))

    def stop_pool(self, name: str) -> None:
        self.asked.append(("stop", name))

    def scale_pool(self, name: str, blocks: int) -> None:
        self.asked.append(("scale", name, blocks))


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    """A control with two pools, in no order: one that answers and one that does not."""
    fake = Control(Info("b", state="not answering"), Info("a", clients=["tour.ipynb"], status=STATUS))
    monkeypatch.setattr(views, "control", fake)
    return fake


def test_pools_are_listed_by_name_with_their_sums(control: Control):
    """Workers, slots and tasks of a pool are those of all its managers; blocks and clients come along."""
    a, b = views.list_pools().pools
    assert (a.name, b.name) == ("a", "b")
    assert (a.workers, a.slots, a.running, a.queued, a.done, a.target) == (5, 6, 2, 3, 9, 2)
    assert [block.state for block in a.blocks] == ["running"]
    assert [host.name for host in a.hosts] == ["here", "there"]
    assert (a.clients, a.trouble) == (["tour.ipynb"], "once")


def test_a_pool_that_does_not_answer_is_listed_too(control: Control):
    """Without a status the numbers are zero, and the state says why."""
    b = views.list_pools().pools[1]
    assert (b.state, b.workers, b.blocks, b.clients) == ("not answering", 0, [], [])


def test_a_pool_is_started_as_the_form_says(control: Control):
    """Name, workers and blocks reach the pool's provider."""
    views.start_pool(b'{"name": "c", "max_workers_per_node": 3, "init_blocks": 1, "max_blocks": 4}')
    [(what, name, options)] = control.asked
    assert (what, name, options["max_workers_per_node"]) == ("start", "c", 3)
    assert (options["provider"].init_blocks, options["provider"].max_blocks) == (1, 4)


def test_what_the_form_leaves_out_has_a_default(control: Control):
    """Only the name is needed."""
    views.start_pool(b'{"name": "c"}')
    [(_, _, options)] = control.asked
    assert options["max_workers_per_node"] is None
    assert (options["provider"].init_blocks, options["provider"].max_blocks) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"name": 3}',
        b'{"name": "c", "init_blocks": "2"}',
        b'{"name": "c", "colour": "red"}',
        b"\xff",
        b'{"name": "\xff"}',
    ],
)
def test_a_body_that_is_no_form_is_refused(control: Control, body: bytes):
    """What is missing, mistyped or unknown is named, and nothing is started."""
    with pytest.raises(ConfigurationError, match="StartPool"):
        views.start_pool(body)
    assert control.asked == []


def test_options_that_cannot_work_are_refused(control: Control):
    """The provider checks its own options; fewer blocks at most than at first cannot be."""
    with pytest.raises(ConfigurationError, match="block"):
        views.start_pool(b'{"name": "c", "init_blocks": 3, "max_blocks": 1}')
    assert control.asked == []


@pytest.mark.parametrize("field", ["max_workers_per_node", "init_blocks", "max_blocks"])
def test_more_than_a_form_may_ask_for_is_refused(control: Control, field: str):
    """Workers of a node and blocks are capped, and the limit is said."""
    with pytest.raises(ConfigurationError, match=f"{field} = 1025: write 1024 or less"):
        views.start_pool(f'{{"name": "c", "{field}": 1025}}'.encode())
    with pytest.raises(ConfigurationError, match="blocks = 1025: write 1024 or less"):
        views.scale_pool("a", b'{"blocks": 1025}')
    assert control.asked == []


def test_pools_are_scaled_and_stopped_by_name(control: Control):
    """The name comes from the address, the number from the body, and the list comes back."""
    views.scale_pool("a", b'{"blocks": 2}')
    assert len(views.stop_pool("a").pools) == 2
    assert control.asked == [("scale", "a", 2), ("stop", "a")]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PoolNotFound("x"), 404),
        (PoolExists("x"), 409),
        (ConfigurationError("f", 1, "use 2"), 400),
        (PoolUnreachable("x", 2.0), 422),
    ],
)
def test_errors_are_told_with_their_type_and_fix(error: Any, status: int):
    """Each kind has its HTTP status; the body names the type, the sentence and the fix."""
    code, body = views.describe(error)
    assert code == status
    assert body.error == type(error).__name__
    assert body.message == str(error)
    assert body.fix == getattr(error, "fix", "")
    assert msgspec.json.decode(msgspec.json.encode(body))["error"] == body.error
