"""Special keywords of a call: which they are, what they may be, and who gets them."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import ConfigurationError
from shoal.files import File
from shoal.node.special import AUTO_LOGNAME, Special, Specials, Stream, name_of, take_plan


def read(function: Any, *args: Any, kind: str = "python", **kwargs: Any) -> Special:
    return Specials(function, kind, "f").read(args, kwargs, lambda label, stream: f"/run/{label}.{stream}")


def plain(x: Any) -> None: ...


def test_what_the_function_does_not_take_is_taken_out_of_the_call() -> None:
    """The function gets its own arguments, and nothing of what was said to Shoal."""
    found = read(
        plain, 1, inputs=[2], outputs=["/a"], stdout="/o", stderr=("/e", "w"), walltime=3, label="job", cores=2,
        memory="1 GB", gpus=1, priority=5,
    )  # fmt: skip
    assert (found.args, found.kwargs) == ((1,), {})
    assert found.label == "job"
    assert found.walltime == 3.0
    assert found.resources == {"cores": 2.0, "memory": 10**9, "gpus": 1, "priority": 5}
    assert found.files == (File("/a"),)
    assert found.plan == ("job", Stream("/o", "a"), Stream("/e", "w"), 0.0, ("/a",), [2])


@pytest.mark.parametrize("kind", ["python", "bash"])
def test_outputs_and_walltime_keep_their_meaning_and_reach_the_function(kind: str) -> None:
    """As in Parsl: a function that has such a parameter gets the files, and the seconds."""

    def f(x: Any, outputs: Any = (), walltime: Any = None) -> None: ...

    found = read(f, 1, outputs=["/a"], walltime=2, kind=kind)
    assert found.kwargs == {"outputs": [File("/a")], "walltime": 2}
    assert (found.files, found.walltime) == ((File("/a"),), 2.0)


@pytest.mark.parametrize("name", ["inputs", "stdout", "stderr", "label", "cores", "memory", "gpus", "priority"])
def test_a_parameter_of_a_python_function_is_its_own(name: str) -> None:
    """`plot(x, label="a")` is an ordinary call, whatever the value is, also by `**kwargs`."""
    namespace: dict[str, Any] = {}
    exec(f"def f(x, {name}=None): ...\ndef g(x, **rest): ...", namespace)
    for function in (namespace["f"], namespace["g"]):
        assert name not in Specials(function, "python", "f").watched
        found = read(function, 1, **{name: object})
        assert found.kwargs == {name: object}
        assert (found.label, found.resources, found.plan.is_needed()) == ("", {}, False)


def test_a_bash_function_sees_where_its_streams_go() -> None:
    """It gets the path that was chosen, and the mode if one was given."""

    def f(stdout: Any = AUTO_LOGNAME, stderr: Any = None, label: str = "") -> None: ...

    found = read(f, stderr=("/e", "w"), label="sort", kind="bash")
    assert found.kwargs == {"stdout": "/run/sort.stdout", "stderr": ("/e", "w"), "label": "sort"}
    assert found.plan.stdout == Stream("/run/sort.stdout", "a", True)


def test_the_default_of_a_parameter_counts_where_the_call_says_nothing() -> None:
    """Parsl's rule; what is given by position counts before it."""

    def f(x: Any, walltime: Any = 5, outputs: Any = ("/a",)) -> None: ...

    assert Specials(f, "python", "f").first == -1
    assert (read(f, 1).walltime, read(f, 1).files) == (5.0, (File("/a"),))
    assert read(f, 1, 7, ["/b"]).args == (1, 7, [File("/b")])
    assert read(f, 1, 7, ["/b"]).walltime == 7.0
    assert read(functools.partial(f, walltime=9)).walltime == 9.0


def test_a_plain_call_need_not_be_looked_at() -> None:
    """Only functions with parameters of special names look at positional arguments, from their place on."""

    def f(x: Any, outputs: Any = (), walltime: Any = None) -> None: ...

    assert Specials(plain, "python", "f").first > 1000
    assert Specials(f, "python", "f").first == 1


def test_a_function_may_have_outputs_that_are_no_files() -> None:
    """A parameter of that name with another value is the function's own."""

    def layer(inputs: int, outputs: int) -> None: ...

    found = read(layer, inputs=3, outputs=10)
    assert (found.kwargs, found.files) == ({"inputs": 3, "outputs": 10}, ())


def test_relative_paths_start_where_the_call_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the worker stands."""
    monkeypatch.chdir(tmp_path)
    found = read(plain, stdout="a/o.log", stderr=Path("e.log"), outputs=[Path("b")])
    assert found.plan.stdout == Stream(str(tmp_path / "a/o.log"), "a")
    assert found.plan.stderr == Stream(str(tmp_path / "e.log"), "a")
    assert found.plan.outputs == (str(tmp_path / "b"),)


def test_both_automatic_logs_of_a_call_share_a_name() -> None:
    """One number is drawn for both."""
    drawn: list[str] = []

    def log(label: str, stream: str) -> str:
        drawn.append(label)
        return f"/run/{len(drawn)}_{label}.{stream}"

    found = Specials(plain, "bash", "f").read((1,), {"stdout": -1, "stderr": AUTO_LOGNAME}, log)
    assert [s.path for s in (found.plan.stdout, found.plan.stderr) if s] == ["/run/1_f.stdout", "/run/1_f.stderr"]


@pytest.mark.parametrize("mode", ["w", "a", "x", "wt", "ab", "w+", "a+", "xb"])
def test_modes_to_write_in_are_taken(mode: str) -> None:
    """Text or binary makes no difference to a command."""
    stream = read(plain, stdout=("/o", mode)).plan.stdout
    assert stream is not None
    assert stream.mode in mode


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("stdout", 3), ("stdout", ""), ("stdout", ("/o", "r")), ("stdout", ("/o", "wa")), ("stdout", ("/o", 1)),
        ("stderr", b"/o"), ("stderr", True), ("stdout", ("/o", "w", "x")),
        ("outputs", "/a"), ("outputs", [3]), ("outputs", ["/a", "/a"]), ("outputs", ["s3://bucket/a"]),
        ("walltime", 0), ("walltime", -1), ("walltime", "60"), ("walltime", float("nan")), ("walltime", True),
        ("label", 3), ("cores", 0), ("memory", "lots"), ("gpus", -1), ("priority", 1.5),
        ("parsl_resource_specification", 3), ("parsl_resource_specification", {"disk": 1}),
        ("parsl_resource_specification", {"running_time_min": 1}), ("parsl_resource_specification", {"cores": -1}),
        ("parsl_resource_specification", {"memory": -1}),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_by_its_name(keyword: str, value: Any) -> None:
    """Before anything is submitted, with a sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        read(plain, **{keyword: value})
    if value != ["s3://bucket/a"]:
        assert str(caught.value).startswith(f"f({keyword}=...")


def test_one_file_has_one_mode() -> None:
    """Two modes for one path cannot both be meant."""
    with pytest.raises(ConfigurationError, match="shares the file"):
        read(plain, stdout=("/o", "w"), stderr="/o")


def test_parsls_specification_is_translated() -> None:
    """Memory is in MB there, and the lower priority comes first; what the call says itself counts more."""
    given = {"cores": 2, "memory": 500, "gpus": 1, "priority": 3}
    found = read(plain, parsl_resource_specification=given, cores=4)
    assert found.resources == {"cores": 4.0, "memory": 500 * 10**6, "gpus": 1, "priority": -3}


@pytest.mark.parametrize("keyword", ["stdout", "walltime", "cores", "parsl_resource_specification"])
def test_a_join_app_refuses_what_its_body_cannot_have(keyword: str) -> None:
    """It runs in the session itself."""
    with pytest.raises(ConfigurationError, match="apps that it calls"):
        read(plain, kind="join", **{keyword: 1})


def test_what_makes_no_difference_to_the_result_is_not_in_the_key() -> None:
    """A log whose name Shoal chose, a walltime and a label; but the files that are made, and what was waited for."""
    one = read(plain, stdout=AUTO_LOGNAME, walltime=3, label="a", outputs=["/a"], kind="bash").plan
    two = read(plain, outputs=["/a"], kind="bash").plan
    assert one.key() == two.key()
    assert two.key() != read(plain, outputs=["/b"], kind="bash").plan.key()
    assert two.key() != read(plain, outputs=["/a"], inputs=[1], kind="bash").plan.key()
    assert two.key() != read(plain, outputs=["/a"], stdout="/o", kind="bash").plan.key()


def test_a_call_inside_a_task_reads_its_keywords_there() -> None:
    """Its streams go to files as elsewhere; a log without a name stays with the text of the task."""
    args, kwargs, plan = take_plan(plain, "bash", (1,), {"stdout": "/o", "stderr": -1, "walltime": 2, "cores": 4})
    assert (args, kwargs) == ((1,), {})
    assert plan == ("plain", Stream("/o", "a"), None, 2.0, (), ())


def test_names_of_callables() -> None:
    """A partial is called as what it calls, an object as its class."""

    class Model:
        def __call__(self) -> None: ...

    assert name_of(functools.partial(functools.partial(plain), 1)) == "plain"
    assert name_of(Model()) == "Model"
    assert name_of(len) == "len"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b c", "/a/b c"),
        ("/a/../b", "/b"),
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("/a:b", "/a:b"),
        ("/a?b#c", "/a?b#c"),
    ],
)
def test_a_file_is_a_path(url: str, path: str) -> None:
    """Or a URL of this host."""
    assert File(url).filepath == path


@pytest.mark.parametrize("url", ["http://x/y", "globus://a/b", "zip:/a/b.zip/c"])
def test_a_file_elsewhere_is_refused(url: str) -> None:
    """It is not taken for a path of this host."""
    with pytest.raises(ConfigurationError, match="not supported yet"):
        File(url)


@pytest.mark.parametrize("url", ["file://home/x", "file:", "file://localhost"])
def test_a_file_url_of_another_host_is_refused(url: str) -> None:
    """Two slashes for three are a common slip."""
    with pytest.raises(ConfigurationError, match="three slashes"):
        File(url)


@pytest.mark.parametrize("kind", ["python", "bash", "join"])
def test_a_future_is_no_default(kind: str) -> None:
    """It would be made once, for all calls; on a pool the function could not travel with it."""
    future: Future[int] = Future()

    def total(xs: Any = (future,)) -> None: ...

    with pytest.raises(ConfigurationError, match=r"f\(xs=\.\.\.\).*give it in the call"):
        Specials(total, kind, "f")
