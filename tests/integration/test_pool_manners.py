"""Tasks that do to their worker what they should not: fork and let go, close what is not theirs, raise what cannot be told."""

from __future__ import annotations

import pytest

from shoal.wire.messages import Output


def negate(x):
    return -x


def still_works(client, count=20):
    """Whether each of the tasks that follow has its own result."""
    tids = [tid for n in range(count) for tid in client.submit(negate, n)]
    return [client.value(tid) for tid in tids] == [-n for n in range(count)]


@pytest.mark.parametrize("end", ["return", "sys.exit(0)", "sys.exit('a word')", "raise ValueError('of the child')"])
def test_the_child_of_a_task_that_forks_ends(pools, end):
    """A forked child that returns, exits or raises leaves no trace: one result, the parent's, and the worker goes on."""
    client = pools.start(workers=1)

    def split(end):
        import os
        import sys

        print("half", end="")
        child = os.fork()
        if child == 0:
            if end == "return":
                return "the child"
            exec(end, {"sys": sys})
        return "the parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    code = 0 if end in ("return", "sys.exit(0)") else 1
    for _ in range(3):
        (tid,) = client.submit(split, end)
        assert client.value(tid) == ("the parent", code)
        assert still_works(client)
    assert len({r.worker for r in client.results.values()}) == 1
    text = "".join(m.text for m in client.of(Output))
    assert text.count("half") == 3, "what was held when the task forked is there once"


def test_text_that_utf8_cannot_hold_is_escaped(pools):
    """Lone surrogates in what is printed, and in an exception's message, arrive as escapes; the worker goes on."""
    client = pools.start(workers=1)

    def speak(fail):
        import sys

        print("name-\udcff")
        print("half-\udcfe", end="", file=sys.stderr)
        if fail:
            raise OSError(f"no file \udcfd{fail}")

    assert client.value(client.submit(speak, "")[0]) is None
    text = "".join(m.text for m in client.of(Output))
    assert r"name-\udcff" in text
    assert r"half-\udcfe" in text
    (tid,) = client.submit(speak, "here")
    assert r"no file \udcfdhere" in client.result(tid).failure.message
    assert still_works(client)
    assert len({r.worker for r in client.results.values()}) == 1


def test_an_exception_whose_own_methods_end_the_process_is_a_failure(pools):
    """SystemExit or KeyboardInterrupt from __str__, __repr__ or __reduce__ fails the task, and no more."""
    client = pools.start(workers=1)

    def fail(kind):
        class Leaving(Exception):
            def __str__(self):
                raise kind

            __repr__ = __str__

            def __reduce_ex__(self, protocol):
                raise kind

        raise Leaving(1)

    for kind in (SystemExit, KeyboardInterrupt, MemoryError):
        (tid,) = client.submit(fail, kind)
        failure = client.result(tid).failure
        assert "Leaving" in failure.type_name
        assert not failure.lost
        assert "raise Leaving(1)" in failure.traceback
    assert still_works(client)
    assert len({r.worker for r in client.results.values()}) == 1


CLOSING = {
    "replaced": "sys.stdout = sys.stderr = open(os.devnull, 'w')",
    "none": "sys.stdout = sys.stderr = None",
    "closed": "sys.stdout.close(); sys.stderr.close()",
    "wrapped": "import io; io.TextIOWrapper(sys.stdout.buffer).close()",
    "original": "sys.__stdout__.close(); sys.__stderr__.close()",
    "descriptors": "os.close(1); os.close(2)",
    "led elsewhere": "n = os.open(os.devnull, os.O_WRONLY); os.dup2(n, 1); os.dup2(n, 2); os.close(n)",
    "one into the other": "os.dup2(1, 2)",
    "full": "n = os.open('/dev/full', os.O_WRONLY); os.dup2(n, 1); sys.stdout.write('lost?')",
    "detached": "sys.stdout.detach(); sys.stderr.detach()",
    "raw": "sys.stdout.buffer.raw.close()",
    "altered": "sys.stdout.reconfigure(encoding='utf-16', line_buffering=False)",
    "bytes": "sys.stdout.write(b'no text')",
}


@pytest.mark.parametrize("how", CLOSING)
def test_what_a_task_does_to_its_stdout_ends_with_it(pools, how):
    """However a task leaves stdout and stderr: the next one prints, its subprocesses print, and the worker is the same."""
    client = pools.start(workers=1)

    def leave(how):
        import os
        import sys

        exec(how, {"os": os, "sys": sys})

    def speak():
        import subprocess
        import sys

        print("spoken")
        print("muttered", file=sys.stderr)
        subprocess.run(["echo", "from below"], check=True)
        return sys.stdout.closed

    first = client.result(client.submit(leave, CLOSING[how])[0])
    assert (first.failure is None) == (how != "bytes")
    assert client.value(client.submit(speak)[0]) is False
    text = "".join(m.text for m in client.of(Output))
    assert all(text.count(word) == 1 for word in ("spoken", "muttered", "from below"))
    assert still_works(client)
    assert len({r.worker for r in client.results.values()}) == 1
