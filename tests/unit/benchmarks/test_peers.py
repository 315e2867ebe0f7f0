"""The systems that are measured, as far as that goes without starting them."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from benchmarks import tasks
from benchmarks.peers import find_peers, load_peer
from benchmarks.peers.peer import writable
from benchmarks.peers.shoal_sessions import as_in_a_notebook


def test_every_file_of_the_folder_is_found_and_the_project_comes_first():
    """Adding a system is adding a file."""
    peers = find_peers()
    assert next(iter(peers)) == "shoal"
    assert {"processpool", "parsl"} <= peers.keys()


@pytest.mark.parametrize("name", list(find_peers()))
def test_a_system_is_described_without_being_installed(name):
    """Its file imports it only when it starts, and says what the plan needs."""
    module, peer = find_peers()[name]
    assert load_peer(module, name) is peer
    for flag in (peer.dependencies, peer.processes, peer.slow, peer.default, peer.project):
        assert isinstance(flag, bool)
    assert all(isinstance(line, str) for line in peer.requirements)


def test_roles_of_processes_are_told_by_their_command_lines():
    """CPU time is summed by them."""
    _, shoal = find_peers()["shoal"]
    assert shoal.role(["python", "-m", "shoal.pool", "x"]) == "pool"
    assert shoal.role(["python", "-m", "shoal.node.manager"]) == "manager"
    assert shoal.role(["python", "-m", "shoal.node.worker"]) == "workers"
    assert shoal.role(["bash"]) == "others"


def test_a_function_is_defined_again_as_in_a_notebook(monkeypatch):
    """In __main__, so that it travels by value, and doing the same."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    function = as_in_a_notebook(tasks.increment)
    assert function is not tasks.increment
    assert function.__module__ == "__main__"
    assert function(1) == 2
    assert as_in_a_notebook(tasks.increment) is function


def test_who_hands_results_on():
    """Those without it sit out chains and fans."""
    peers = find_peers()
    named = {name for name, (_, peer) in peers.items() if peer.dependencies and peer.default}
    assert named == {"shoal", "shoal-threads", "shoal-tcp", "parsl", "dask", "ray", "executorlib"}


def test_settings_other_than_the_best_are_measured_only_when_asked_for():
    """They show what the settings are worth."""
    for name, (_, peer) in find_peers().items():
        assert peer.default is not name.endswith("-defaults")


def test_results_that_can_only_be_read_are_copied():
    """So that what comes out can be written to, as everywhere; nothing else is touched."""
    array = np.zeros(3)
    assert writable(array) is array
    array.flags.writeable = False
    copied = writable(array)
    copied[0] = 1.0
    assert array[0] == 0.0
    text = b"bytes"
    assert writable(text) is text
    assert writable(None) is None
