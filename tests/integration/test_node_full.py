"""A full disk and a full /dev/shm: what cannot be written is named or done without, and nothing waits for ever.

Each test runs in a mount namespace of its own, on a file system of one megabyte.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

START = """
import json, os, signal, sys, time
from pathlib import Path
import shoal
from shoal.errors import ShoalError

room = Path(sys.argv[1])
found = {}

def fill():
    "Leave nothing of the room."
    with open(room / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    try:
        while True:
            file = open(room / "filler", "ab", buffering=0)
            file.write(b"x")
    except OSError:
        pass

def load():
    htex = shoal.HighThroughputExecutor(max_workers_per_node=2)
    return shoal.load(shoal.Config(executors=(htex,), run_dir=str(room / "runs")))

def number():
    return os.getpid()

def kill(pid=0):
    os.kill(pid or os.getpid(), signal.SIGKILL)
    time.sleep(60)

def name(error):
    return [type(error).__name__, str(error)]
"""


def run(tmp_path: Path, script: str) -> dict[str, object]:
    """What a script has found, within a minute."""
    assert os.geteuid() == 0, "these tests mount a file system of their own: run them as root"
    file, room = tmp_path / "script.py", tmp_path / "room"
    room.mkdir()
    file.write_text(START + script + "\nshoal.clear()\nprint(json.dumps(found))\n")
    mount = "mount -t tmpfs -o size=1m,nr_inodes=500 tmpfs"
    words = f'{mount} "$1" && {mount} /dev/shm && exec "$2" "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", words, "bash", str(room), sys.executable, str(file)],
        env={**os.environ, "SHOAL_HOME": str(room / "home")},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


GOES_ON = """
session = load()
session.submit(number).result(20)
fill()
found["value"] = session.submit(number).result(20) > 0
def big(data):
    print("x" * 100_000)
    return data
task = session.submit(big, (bytes(8 << 20),))
found["large"] = len(task.result(20))
found["printed"] = len(task.stdout)
@shoal.bash_app
def write():
    return f"head -c 200000 /dev/zero > {room}/more"
found["write"] = name(write().exception(20))
found["killed"] = name(session.submit(kill).exception(20))
found["many"] = len({f.result(30) for f in [session.submit(number) for _ in range(500)]})
"""

BLOCK = """
session = load()
session.submit(number).result(20)
fill()
manager = session.executors["htex"].status().managers[0].pid
task = session.submit(time.sleep, (60,))
while not task.running():
    time.sleep(0.01)
kill.__globals__["time"].sleep(0.1)
os.kill(manager, signal.SIGKILL)
found["running"] = name(task.exception(20))
after = session.submit(number)
found["after"] = name(after.exception(20)) if after.exception(20) else ["value", ""]
"""

LOAD = """
(room / "runs").mkdir()
fill()
try:
    session = load()
    task = session.submit(number)
    found["what"] = name(task.exception(20)) if task.exception(20) else ["value", ""]
except (OSError, ShoalError) as error:
    found["what"] = name(error)
"""


def test_work_goes_on_when_the_disk_is_full(tmp_path):
    """Values, large values, prints and the replacement of workers need no room; what a task writes itself fails by name."""
    found = run(tmp_path, GOES_ON)
    assert found["value"] is True
    assert found["large"] == 8 << 20
    assert found["printed"] == 100_001
    assert found["write"][0] == "BashExitFailure"
    assert "No space left" in found["write"][1]
    assert found["killed"][0] == "WorkerLost"
    assert 1 <= found["many"] <= 3


def test_a_block_that_is_lost_with_the_disk_full_is_named(tmp_path):
    """What ran there is lost by name; what comes after runs in another block, or says that the disk is full."""
    found = run(tmp_path, BLOCK)
    assert found["running"][0] == "ManagerLost"
    assert found["after"][0] == "value" or "No space left" in found["after"][1], found["after"]


def test_a_session_on_a_full_disk_says_so(tmp_path):
    """At once, or when its first task is run."""
    found = run(tmp_path, LOAD)
    assert "No space left" in found["what"][1], found["what"]
