"""Nodes whose environment is not that of the pool, or of its client: said clearly, with what differs, where, and what to do."""

from __future__ import annotations

import importlib
import os
import platform
import sys

import pytest

from shoal.blocks.providers.local import LocalProvider
from shoal.errors import TaskUnreadable, WorkerStartFailed
from shoal.outcome import clean
from shoal.serialize import unpack_failure
from shoal.wire.messages import PROTOCOL_VERSION, Register, Trouble

HERE = f"{os.uname().nodename}, in Python {platform.python_version()} at {sys.prefix}"

OTHER_PYTHON = """
import sys
class Other(tuple):
    major, minor = 3, 99
sys.version_info = Other(sys.version_info)
"""
OTHER_PROTOCOL = """
import shoal.wire.messages
shoal.wire.messages.PROTOCOL_VERSION += 1
"""


def negate(x):
    return -x


@pytest.mark.parametrize(
    ("custom", "what", "there", "here"),
    [
        (OTHER_PYTHON, "Python", "3.99", f"{sys.version_info.major}.{sys.version_info.minor}"),
        (OTHER_PROTOCOL, "protocol", str(PROTOCOL_VERSION + 1), str(PROTOCOL_VERSION)),
    ],
    ids=["Python", "protocol"],
)
def test_a_manager_of_another_environment_is_refused_by_name(pools, tmp_path, custom, what, there, here):
    """Tasks fail at once with what differs and what to do; nobody waits for workers that never come."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text(custom)
    client = pools.start(workers=1, provider=LocalProvider(worker_init=f"export PYTHONPATH={tmp_path / 'other'}"))
    (tid,) = client.submit(negate, 1)
    error = unpack_failure(client.result(tid, 20).failure)
    assert isinstance(error, WorkerStartFailed)
    assert f"its {what} is {there}, that of the pool {here}. Fix: " in str(error)
    assert "worker_init" in str(error)
    told = [trouble for trouble in client.of(Trouble) if trouble.fatal]
    assert f"its {what} is {there}" in told[0].text
    (block,) = client.status().blocks
    assert block.state == "failed"
    assert f"its {what} is {there}" in block.message


def test_a_stray_manager_does_not_end_the_block_of_another(pools):
    """Where a block has its manager, one more that cannot join is reported, and the block works on."""
    client = pools.start(workers=1)
    assert client.value(client.submit(negate, 1)[0]) == -1
    import json
    from pathlib import Path

    import msgspec

    from shoal.wire.starting import Address

    told = json.loads((Path(client.connection.folder) / "block-0.json").read_text())["address"]
    stray = pools.client(msgspec.structs.replace(client.connection, clients=Address(**told)), hello=False)
    stray.send(Register(PROTOCOL_VERSION, 0, "far-away", 5, "3.99", 4))
    client.wait(lambda: client.of(Trouble))
    assert "on far-away is refused: its Python is 3.99" in client.of(Trouble)[0].text
    assert client.value(client.submit(negate, 2)[0]) == -2


class Needing:
    """Pickles into something that imports a module when it is unpickled."""

    def __init__(self, module):
        self.module = module

    def __reduce__(self):
        return importlib.import_module, (self.module,)


def test_a_module_that_is_missing_on_the_worker_is_named_with_the_place(pools):
    """An argument that cannot be rebuilt there: which module, which host, which Python, and what to do."""
    client = pools.start(workers=1)
    for module in ("no_such_package", "no_such_package.part"):
        (tid,) = client.submit(negate, Needing(module))
        with pytest.raises(TaskUnreadable) as caught:
            client.value(tid)
        assert f"module 'no_such_package' is missing on {HERE}. Fix: install it there" in str(caught.value)
    assert client.value(client.submit(negate, 2)[0]) == -2


def test_a_module_that_a_tasks_own_code_misses_is_located(pools):
    """The error keeps its type and message; a note says where, and what to do."""
    client = pools.start(workers=1)

    def use():
        import no_such_package

        return no_such_package

    result = client.result(client.submit(use)[0])
    assert result.failure.type_name.endswith("ModuleNotFoundError")
    assert result.failure.message == "No module named 'no_such_package'"
    assert f"This was on {HERE}. Fix: install it there" in clean(result.failure.traceback)
