"""Exceptions there and back."""

from __future__ import annotations

import threading
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import NotPicklable, RemoteError, WorkerLost
from shoal.outcome import Failure
from shoal.serialize import RemoteTraceback, name_files, pack_failure, unpack_failure


def caught(function, *args):
    """The exception that a call raises, with its traceback."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def travelled(error):
    return unpack_failure(pack_failure(error))


class TwoArguments(Exception):
    def __init__(self, code, text):
        super().__init__(f"{text} ({code})")
        self.code = code


class Holding(Exception):
    def __init__(self, text):
        super().__init__(text, threading.Lock())
        self.lock, self.kept = threading.Lock(), [1]


class Stubborn(Exception):
    def __reduce__(self):
        raise RuntimeError("no")

    def __new__(cls, text, /):
        if text == "there":
            raise RuntimeError("not again")
        return super().__new__(cls, text)


@given(
    st.sampled_from([ValueError, KeyError, OSError, ArithmeticError, StopIteration, SystemExit, KeyboardInterrupt]),
    st.lists(st.integers() | st.text(), max_size=2),
)
def test_builtin_exceptions_arrive_as_themselves(kind, args):
    """Exceptions of Python come back with their type and arguments."""
    error = kind(*args)
    back = travelled(error)
    assert type(back) is type(error)
    assert back.args == error.args


def test_attributes_and_notes_arrive():
    """What was set on an exception is on it still."""
    error = ValueError("bad")
    error.row = 5
    error.add_note("row 5")
    back = travelled(error)
    assert back.row == 5
    assert back.__notes__ == ["row 5"]


def test_a_constructor_that_does_not_take_its_own_arguments_back():
    """The exception arrives with its type, message and attributes all the same."""
    back = travelled(TwoArguments(7, "bad"))
    assert type(back) is TwoArguments
    assert str(back) == "bad (7)"
    assert back.code == 7


def test_what_cannot_travel_is_left_behind():
    """An exception that holds a lock arrives with its type, without the lock."""
    back = travelled(Holding("bad"))
    assert type(back) is Holding
    assert back.args[0] == "bad"
    assert "lock" in back.args[1]
    assert back.kept == [1]
    assert not hasattr(back, "lock")


def test_an_exception_that_cannot_travel_arrives_as_text():
    """What cannot be rebuilt at all is told: its type, its message, its traceback."""

    def fail():
        raise Stubborn("here")

    error = caught(fail)
    error.args = ("there",)
    back = travelled(error)
    assert type(back) is RemoteError
    assert back.type_name.endswith("Stubborn")
    assert "there" in str(back)
    assert "raise Stubborn" in str(back.__cause__)


def test_an_exception_whose_type_is_not_here_arrives_as_text():
    """A pickle that cannot be read here gives the stand-in, never an error of the reader."""
    failure = pack_failure(ValueError("bad"))
    failure.pickled = failure.pickled.replace(b"ValueError", b"ValueErrrr")
    assert type(unpack_failure(failure)) is RemoteError
    failure.pickled = b"rubbish"
    assert str(unpack_failure(failure)) == "ValueError: bad"


def test_exceptions_of_notebooks_are_of_the_same_class(nb):
    """``except`` works at home for an exception class that the notebook defined."""
    nb.run(
        "class Failed(Exception):\n    def __init__(self, code):\n        super().__init__('failed')\n        self.code = code"
    )
    back = travelled(nb.Failed(3))
    assert type(back) is nb.Failed
    assert back.code == 3


def test_errors_of_shoal_travel():
    """Shoal's own errors are rebuilt from their data."""
    back = travelled(WorkerLost("task 1", "h/1", "signal 9"))
    assert (back.task, back.worker, back.reason) == ("task 1", "h/1", "signal 9")
    assert travelled(NotPicklable("x", "lock", "no")).what == "x"
    assert back.__cause__ is None  # it was never raised: there is no traceback to show


def test_the_traceback_shows_the_lines_of_the_cell(nb, rebuild):
    """The remote traceback shows the source lines of notebook functions, which the worker has only from the code blob."""
    import linecache

    nb.run(
        "# a comment\n\ndef helper(x):\n    # why\n    return (1 /\n            x)  # the line\n\ndef f(x):\n    return helper(x)"
    )
    file = nb.helper.__code__.co_filename
    from shoal.serialize import FunctionImage

    snapshot = FunctionImage(nb.f).snapshot()
    del linecache.cache[file]
    failure = pack_failure(caught(rebuild(snapshot), 0), skip_files=__file__)
    assert [(line.file, line.line, line.function, line.text) for line in failure.lines] == [
        (file, 9, "f", "return helper(x)"),
        (file, 5, "helper", "return (1 /"),
    ]
    back = unpack_failure(failure)
    assert type(back) is ZeroDivisionError
    assert type(back.__cause__) is RemoteTraceback
    shown = "".join(traceback.format_exception(back))
    assert f'File "{file}", line 9, in f\n    return helper(x)' in shown
    assert "The above exception was the direct cause" in shown
    del linecache.cache[file]


def test_lines_of_a_file_that_changed_meanwhile(nb, rebuild, tmp_path):
    """Lines come from the client's source also where the worker has another file of that name."""
    import linecache

    from shoal.serialize import FunctionImage

    path = tmp_path / "script.py"
    path.write_text("def f():\n    return 1 / 0\n\nx = 1\n")
    exec(compile(path.read_text(), str(path), "exec"), nb)
    snapshot = FunctionImage(nb.f).snapshot()
    linecache.clearcache()
    path.write_text("# new\n# lines\n# here\nkept = 1\n")
    failure = pack_failure(caught(rebuild(snapshot)), skip_files=__file__)
    assert failure.lines[0].text == "return 1 / 0"
    assert linecache.getline(str(path), 4) == "kept = 1\n"


def test_shoals_own_frames_are_left_out():
    """Frames at the top that belong to the worker are not shown; if there are no others, they are."""
    namespace = {}
    exec(compile("def work(f):\n    return f()", "/opt/shoal/worker.py", "exec"), namespace)
    error = caught(namespace["work"], lambda: 1 / 0)
    error = error.with_traceback(error.__traceback__.tb_next)  # as caught in the worker
    assert [line.function for line in pack_failure(error, "/opt/shoal/").lines] == ["<lambda>"]
    own = caught(namespace["work"], None)
    own = own.with_traceback(own.__traceback__.tb_next)
    assert [line.function for line in pack_failure(own, "/opt/shoal/").lines] == ["work"]


def test_causes_are_in_the_text():
    """The remote text tells the whole chain of causes."""

    def fail():
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    text = str(travelled(caught(fail)).__cause__)
    assert text.index("first") < text.index("second")


def test_files_have_names_for_people(nb):
    """The hook translates file names of cells in the text of remote tracebacks; other files keep theirs."""
    nb.run("def f(): return 1 / 0")
    file = nb.f.__code__.co_filename
    failure = pack_failure(caught(nb.f))
    name_files(lambda name: "Cell In[3]" if name == file else name)
    try:
        text = str(unpack_failure(failure).__cause__)
    finally:
        name_files(str)
    assert "  Cell In[3], line 1, in f" in text
    assert file not in text
    assert f'File "{__file__}"' in text


def test_a_failure_without_a_traceback():
    """A failure that was written by hand is read like any other."""
    error = unpack_failure(Failure("mod.Odd", "text"))
    assert type(error) is RemoteError
    assert str(error) == "mod.Odd: text"


@pytest.mark.parametrize(
    "error", [ExceptionGroup("many", [ValueError(1), KeyError(2)]), UnicodeDecodeError("utf8", b"x", 0, 1, "why")]
)
def test_exceptions_with_structure(error):
    """Groups and exceptions whose data Python keeps itself arrive whole."""
    back = travelled(error)
    assert repr(back) == repr(error)


def test_an_exception_that_cannot_even_be_described_is_a_failure_all_the_same():
    """A class whose own machinery raises SystemExit: its name and a plain word arrive, and nothing is raised."""

    class Nameless(type):
        def __getattribute__(cls, name):
            if name == "__qualname__":
                raise SystemExit
            return super().__getattribute__(name)

    class Hidden(Exception, metaclass=Nameless):
        pass

    failure = pack_failure(caught(lambda: (_ for _ in ()).throw(Hidden())))
    assert (failure.type_name, failure.pickled) == ("Hidden", b"")
    assert "cannot be shown" in failure.message


def test_an_exception_that_ends_the_process_when_unpickled_is_stood_in_for():
    """SystemExit from the code of an exception that arrives does not end the client."""
    failure = Failure("mod.Leaving", "text", pickled=b"cbuiltins\nexit\n)R.")
    assert type(unpack_failure(failure)) is RemoteError
