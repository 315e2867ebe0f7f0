"""The environment of the peers, with an installer that only takes notes."""

from __future__ import annotations

import pytest

from benchmarks import environment
from benchmarks.environment import EnvironmentFailed, ensure


class Installer:
    """Takes commands down; refuses those with a line that cannot be had."""

    def __init__(self, refused=()):
        self.refused = set(refused)
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        if self.refused.intersection(command):
            raise EnvironmentFailed("no such thing")

    def installed(self):
        """What the last command that went through had in it."""
        return {word for word in self.commands[-1] if not word.startswith("-")}


@pytest.fixture
def installer(tmp_path, monkeypatch):
    """In place of the real one, and of the checkout's environment."""
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "STAMP", tmp_path / "installed.txt")
    monkeypatch.setattr(environment.shutil, "rmtree", lambda *_, **__: None)
    installer = Installer()
    monkeypatch.setattr(environment, "_run", installer)
    return installer


def test_everything_is_installed_at_once_and_only_once(installer):
    """One command makes it, one fills it, none does it again."""
    wanted = {"a": ("alpha>=1",), "b": ("beta", "gamma")}
    assert ensure(wanted) == {}
    assert len(installer.commands) == 2
    assert {"alpha>=1", "beta", "gamma"} <= installer.installed()
    assert ensure(wanted) == {}
    assert len(installer.commands) == 2


def test_a_new_peer_is_added_to_the_others(installer):
    """Together with them, so that they keep the versions that they need."""
    ensure({"a": ("alpha>=1",)})
    ensure({"b": ("beta",)})
    assert {"alpha>=1", "beta"} <= installer.installed()


def test_a_peer_that_cannot_be_had_is_left_out(installer):
    """The others are installed all the same, and the next run tries again."""
    installer.refused = {"beta"}
    wanted = {"a": ("alpha>=1",), "b": ("beta",), "c": ("gamma",), "d": ()}
    assert ensure(wanted) == {"b": "no such thing"}
    assert {"alpha>=1", "gamma"} <= installer.installed()
    installer.refused = set()
    assert ensure(wanted) == {}
    assert "beta" in installer.installed()


def test_what_all_need_is_not_left_out(installer):
    """Without numpy there is nothing to measure with."""
    installer.refused = {line for name in environment.SHARED for line in [f"{name}=={environment.version(name)}"]}
    with pytest.raises(EnvironmentFailed):
        ensure({"a": ("alpha>=1",)})
