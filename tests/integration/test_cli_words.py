"""What the command line says of itself: help for each command, and completion in a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.links import process_started
from shoal.pool.connection import Connection, connection_path, write_connection
from shoal.wire.messages import PROTOCOL_VERSION
from shoal.wire.starting import Address
from tests.integration.commands import run

SHOAL = Path(sys.executable).with_name("shoal")


def said(*typed: str) -> str:
    """What a command prints; it must end well."""
    done = run(*typed)
    assert done.returncode == 0, done
    return done.stdout


def words(*typed: str) -> list[str]:
    """What the last of some words can be."""
    return said("completion", "words", "--", *typed).split()


def test_each_command_has_help():
    """``--help`` of each command and action ends well, and lists each action with a sentence."""
    for command in words(""):
        assert said(command, "--help").startswith(f"usage: shoal {command}")
    listed = said("pool", "--help")
    for action in words("pool", ""):
        assert said("pool", action, "--help").startswith(f"usage: shoal pool {action}")
        line = next(line for line in listed.splitlines() if line.strip().startswith(f"{action} "))
        assert len(line.split()) > 3, "each has a word of explanation"


def test_words_are_completed():
    """Commands, actions and options, as far as they are typed."""
    assert words("po") == ["pool"]
    assert words("pool", "st") == ["stacks", "start", "stop"]
    assert "--worker" in words("pool", "stacks", "mine", "--")
    assert words("doctor", "") == ["pool"]
    assert words("nonsense", "x") == []


def test_names_of_pools_are_completed(tmp_path, monkeypatch):
    """Where a pool is meant; but not where a new one is to be named."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path))
    me = os.getpid()
    found = Connection(
        name="mine", kind="lasting", pid=me, pid_started=process_started(me), started=0.0, host=os.uname().nodename,
        protocol=PROTOCOL_VERSION, python="3.11", clients=Address(""), folder="", sockets="", log="",
    )  # fmt: skip
    write_connection(found, connection_path("mine"))
    for typed in (("pool", "stop", ""), ("pool", "top", "m"), ("doctor", "pool", ""), ("pool", "stacks", "")):
        assert words(*typed) == ["mine"], typed
    assert words("pool", "start", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell):
    """It is printed; bash, which is everywhere, also takes it and completes by it."""
    script = said("completion", shell)
    assert "shoal completion words" in script
    if shell == "bash":
        bash = shutil.which("bash")
        assert bash is not None
        ask = 'COMP_WORDS=(shoal pool sta); COMP_CWORD=2; _shoal; echo "${COMPREPLY[@]}"'
        environment = {**os.environ, "PATH": f"{SHOAL.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [bash, "-c", f"{script}\n{ask}"], capture_output=True, text=True, timeout=60, check=True, env=environment
        )
        assert done.stdout.split() == ["stacks", "start"]
