"""Modules beside the notebook travel as source."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

import pytest

from shoal.serialize import FunctionImage, Rebuilder, image, modules, pack, pack_call, rebuild, unpack
from shoal.serialize.modules import LocalModules, is_installed
from shoal.serialize.shipped import ShippedModules


class Folder:
    """The notebook's directory, and a way to leave it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: set[str] = set()

    def write(self, name: str, source: str) -> None:
        """Write (or edit) a module."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        self.names.add(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        importlib.invalidate_caches()

    def reload(self, name: str) -> None:
        importlib.reload(sys.modules[name])

    def forget(self) -> dict[str, object]:
        """Unload its modules, as in a process that has none of them; returns them."""
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in self.roots()}

    def roots(self) -> set[str]:
        return {name.partition(".")[0] for name in self.names}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    known, shipped = LocalModules(), ShippedModules()
    monkeypatch.setattr(modules, "local", known)
    monkeypatch.setattr(image, "local", known)
    monkeypatch.setattr(rebuild, "_shipped", shipped)
    monkeypatch.setattr(modules, "roots", lambda: [tmp_path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Folder(tmp_path)
    yield made
    made.forget()
    if shipped in sys.meta_path:
        sys.meta_path.remove(shipped)


@pytest.fixture
def worker(folder, monkeypatch):
    """Rebuilds a snapshot as a worker would that has no such directory."""
    rebuilder = Rebuilder()

    def work(snapshot):
        at_home = folder.forget()
        monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(folder.path)])
        sys.path_importer_cache.pop(str(folder.path), None)
        rebuilder.add(snapshot.code, snapshot.code_blob)
        function = rebuilder.function(snapshot.code, snapshot.captures_blob)

        def call(*args):
            try:
                return function(*args)
            finally:
                folder.forget()
                sys.modules.update(at_home)
                sys.path.insert(0, str(folder.path))

        return call

    return work


def test_a_module_beside_the_notebook_works(folder, worker, nb):
    """A function may use a local module: by name, by ``from``, and imported in its body."""
    folder.write("mine_a.py", "def double(x): return 2 * x\nclass K:\n    pass\n")
    folder.write("mine_b.py", "def triple(x): return 3 * x\n")
    nb.run(
        "import mine_a\nfrom mine_a import double\ndef f(x):\n    import mine_b\n    return mine_a.double(x), double(x), mine_b.triple(x)"
    )
    snapshot = FunctionImage(nb.f).snapshot()
    assert worker(snapshot)(5) == (10, 10, 15)


def test_modules_that_it_imports_come_along(folder, worker, nb):
    """What a local module imports, in whatever form, comes with it; cycles do not matter."""
    folder.write(
        "mine_a.py",
        "import mine_b\nfrom mine_p import sub\nfrom mine_p.deep import leaf\ndef f(): return mine_b.g(), sub.s, leaf.value()\n",
    )
    folder.write("mine_b.py", "def g():\n    import mine_a\n    return mine_a.__name__\n")
    folder.write("mine_p/__init__.py", "")
    folder.write("mine_p/sub.py", "from . import other\nfrom .other import t\ns = other.t + t\n")
    folder.write("mine_p/other.py", "t = 'x'\n")
    folder.write("mine_p/deep/__init__.py", "")
    folder.write("mine_p/deep/leaf.py", "from ..other import t\nfrom .. import sub\ndef value(): return t * 3\n")
    nb.run("import mine_a\ndef f(): return mine_a.f()")
    assert worker(FunctionImage(nb.f).snapshot())() == ("mine_a", "xx", "xxx")


def test_a_package_without_init_works(folder, worker, nb):
    """A namespace package beside the notebook is a package on the worker."""
    folder.write("mine_ns/inner.py", "x = 4\n")
    nb.run("import mine_ns.inner\ndef f(): return mine_ns.inner.x")
    assert worker(FunctionImage(nb.f).snapshot())() == 4


def test_installed_modules_are_left_alone(folder, nb):
    """What is installed, and the standard library, travels by name only."""
    import numpy as np

    nb.run("import json, numpy\ndef f():\n    import yaml\n    return json, numpy")
    FunctionImage(nb.f).snapshot()
    assert modules.local.sources() == []
    assert is_installed(str(np.__file__))
    assert is_installed(importlib.__file__)
    assert not is_installed(str(folder.path / "mine.py"))


def test_reloading_is_noticed(folder, worker, nb):
    """An edited module travels anew once it was reloaded; without a reload the snapshot stays."""
    folder.write("mine_a.py", "x = 1\n")
    nb.run("import mine_a\ndef f(): return mine_a.x")
    made = FunctionImage(nb.f)
    first = made.snapshot()
    assert made.snapshot() is first
    folder.write("mine_a.py", "x = 22\n")
    assert made.snapshot() is first
    folder.reload("mine_a")
    second = made.snapshot()
    assert second.code != first.code
    # tasks of both kinds may come in any order
    assert [worker(snapshot)() for snapshot in (first, second, first, second)] == [1, 22, 1, 22]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = 1", "x = 22"),
        ("return 'g'", "return 'other'"),
        ("return 'm'", "return 'other'"),
        ("return 's'", "return 'o'"),
    ],
)
def test_new_code_that_was_put_into_a_loaded_module_is_noticed(folder, worker, nb, monkeypatch, old, new):
    """As IPython's autoreload does it: the file was edited, and the functions of the module get its code one by one."""
    monkeypatch.setattr(modules, "MOMENT", 0.0)
    text = (
        "import functools\nx = 1\n@functools.cache\ndef g(): return 'g'\n"
        "class K:\n    def m(self): return 'm'\n    @staticmethod\n    def s(): return 's'\n    me = None\nK.me = K\n"
    )
    folder.write("mine_a.py", text)
    nb.run("import mine_a\ndef f(): return mine_a.x, mine_a.g(), mine_a.K().m(), mine_a.K.s()")
    made = FunctionImage(nb.f)
    first = made.snapshot()
    folder.write("mine_a.py", text.replace(old, new) + "# longer\n")
    assert made.snapshot() is first
    loaded, edited = sys.modules["mine_a"], {"__name__": "mine_a"}
    exec(text.replace(old, new), edited)
    loaded.x = edited["x"]
    loaded.g.__wrapped__.__code__ = edited["g"].__wrapped__.__code__
    for name in ("m", "s"):
        getattr(loaded.K, name).__code__ = getattr(edited["K"], name).__code__
    assert worker(made.snapshot())() == nb.f()


def test_values_that_change_in_a_loaded_module_do_not_make_it_another(folder, nb, monkeypatch):
    """A counter, a cache: the source is as it was."""
    monkeypatch.setattr(modules, "MOMENT", 0.0)
    folder.write("mine_a.py", "x = 1\n")
    nb.run("import mine_a\ndef f(): return mine_a.x")
    made = FunctionImage(nb.f)
    first = made.snapshot()
    nb.run("mine_a.x = 2")
    assert made.snapshot() is first


def test_a_loaded_module_whose_file_is_gone_is_no_harm(folder, nb):
    """It is left alone, like one that has no source."""
    folder.write("mine_a.py", "x = 1\n")
    nb.run("import mine_a\ndef f(): return mine_a.x")
    (folder.path / "mine_a.py").unlink()
    assert FunctionImage(nb.f).snapshot() is not None
    assert modules.local.sources() == []


def test_an_edit_of_a_module_that_only_tasks_import_is_noticed(folder, worker, nb):
    """A module that the notebook itself never loads is followed by its file."""
    folder.write("mine_a.py", "x = 1\n")
    nb.run("def f():\n    import mine_a\n    return mine_a.x")
    made = FunctionImage(nb.f)
    first = made.snapshot()
    assert worker(first)() == 1
    folder.write("mine_a.py", "x = 22\n")
    assert worker(made.snapshot())() == 22


def test_a_function_that_was_replaced_by_a_reload(folder, worker, nb):
    """A function that the notebook took from a module before it was reloaded is still that function."""
    folder.write("mine_a.py", "def g(): return 'old'\n")
    nb.run("from mine_a import g\ndef f(): return g()")
    made = FunctionImage(nb.f)
    assert worker(made.snapshot())() == "old"
    folder.write("mine_a.py", "def g(): return 'newer'\n")
    folder.reload("mine_a")
    assert worker(made.snapshot())() == "old"
    nb.run("from mine_a import g")
    assert worker(made.snapshot())() == "newer"


def test_a_change_deep_down_renews_what_imports_it(folder, worker, nb):
    """A module that took a name from a reloaded one is executed again over there, as after a restart."""
    folder.write("mine_a.py", "from mine_b import x\n")
    folder.write("mine_b.py", "x = 1\n")
    nb.run("import mine_a\ndef f(): return mine_a.x")
    made = FunctionImage(nb.f)
    assert worker(made.snapshot())() == 1
    folder.write("mine_b.py", "x = 22\n")
    folder.reload("mine_b")
    folder.reload("mine_a")
    assert worker(made.snapshot())() == 22


def test_modules_that_arguments_need_come_along(folder, worker, nb):
    """An argument of a local class brings the module, if it is packed before the snapshot is taken."""
    folder.write(
        "mine_a.py", "class Model:\n    def __init__(self, v): self.v = v\n    def twice(self): return 2 * self.v\n"
    )
    nb.run("from mine_a import Model\ndef f(payload): return unpack(payload)[0].twice()\nmodel = [Model(4)]")
    nb["unpack"] = unpack
    payload = pack(nb.model)
    pack_call((nb.model,), {}, "f")
    assert worker(FunctionImage(nb.f).snapshot())(payload) == 8


def test_instances_come_home_as_instances_of_the_same_class(folder, worker, nb):
    """A result of a local class is an instance of the module's class at home."""
    folder.write("mine_a.py", "class Model:\n    def __init__(self, v): self.v = v\n")
    nb.run("import mine_a\ndef f(): return pack(mine_a.Model(3))")
    nb["pack"] = pack
    back = unpack(worker(FunctionImage(nb.f).snapshot())())
    assert type(back) is sys.modules["mine_a"].Model
    assert back.v == 3


def test_a_module_is_executed_once(folder, nb):
    """A worker executes a version of a module once, however many tasks and functions use it."""
    folder.write("mine_a.py", "count = []\n")
    nb.run(
        "import mine_a\ndef f():\n    mine_a.count.append(1)\n    return len(mine_a.count)\ndef g(): return len(mine_a.count)"
    )
    snapshots = [FunctionImage(nb.f).snapshot(), FunctionImage(nb.g).snapshot()]
    folder.forget()
    rebuilder = Rebuilder()
    for snapshot in snapshots:
        rebuilder.add(snapshot.code, snapshot.code_blob)
    f, g = snapshots
    assert rebuilder.function(f.code, b"")() == 1
    assert rebuilder.function(f.code, b"")() == 2
    assert rebuilder.function(g.code, b"")() == 2


def test_versions_of_a_module_live_side_by_side(folder, nb):
    """Tasks that were submitted before and after a reload may alternate: each finds the version of its submission, once executed."""
    folder.write("mine_p/__init__.py", "from . import inner\n")
    folder.write("mine_p/inner.py", "x, count = 1, []\n")
    nb.run(
        "import mine_p.inner\ndef f():\n    from mine_p import inner\n    inner.count.append(1)\n    return inner.x, mine_p.inner.x, len(inner.count)"
    )
    made = FunctionImage(nb.f)
    snapshots = [made.snapshot()]
    folder.write("mine_p/inner.py", "x, count = 22, []\n")
    folder.reload("mine_p.inner")
    snapshots.append(made.snapshot())
    folder.forget()
    rebuilder = Rebuilder()
    for snapshot in snapshots:
        rebuilder.add(snapshot.code, snapshot.code_blob)
    results = [rebuilder.function(snapshot.code, b"")() for snapshot in snapshots * 2]
    assert results == [(1, 1, 1), (22, 22, 1), (1, 1, 2), (22, 22, 2)]


def test_a_module_follows_what_it_took_from_another(folder, nb):
    """When a module changes, the modules that import it are executed anew as well."""
    folder.write("mine_a.py", "from mine_b import x\n")
    folder.write("mine_b.py", "x = 1\n")
    nb.run("import mine_a\ndef f(): return mine_a.x")
    made = FunctionImage(nb.f)
    snapshots = [made.snapshot()]
    folder.write("mine_b.py", "x = 22\n")
    folder.reload("mine_b")
    folder.reload("mine_a")
    snapshots.append(made.snapshot())
    folder.forget()
    rebuilder = Rebuilder()
    for snapshot in snapshots:
        rebuilder.add(snapshot.code, snapshot.code_blob)
    assert [rebuilder.function(snapshot.code, b"")() for snapshot in snapshots] == [1, 22]


def test_tracebacks_show_lines_of_local_modules(folder, worker, nb):
    """A traceback through a shipped module shows its lines, though the file is not there."""
    folder.write("mine_a.py", "def broken():\n    return 1 / 0  # this line\n")
    nb.run("import mine_a\ndef f(): return mine_a.broken()")
    snapshot = FunctionImage(nb.f).snapshot()
    call = worker(snapshot)
    (folder.path / "mine_a.py").unlink()
    with pytest.raises(ZeroDivisionError) as caught:
        call()
    assert "# this line" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_a_module_with_a_syntax_error_is_no_harm(folder, nb, run):
    """A broken module that a function might import does not keep the function from being sent."""
    folder.write("mine_a.py", "def (:\n")
    nb.run("def f(go):\n    if go:\n        import mine_a\n    return 'fine'")
    assert run(nb.f, False) == "fine"
    with pytest.raises(SyntaxError):
        run(nb.f, True)


def test_the_directories_of_the_work(monkeypatch, tmp_path):
    """Local is what lies under the working directory or beside the main script; a removed directory is no error."""
    monkeypatch.undo()
    inner = tmp_path / "gone"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert inner in modules.roots()
    inner.rmdir()
    assert inner not in modules.roots()
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "script.py"), raising=False)
    assert tmp_path in modules.roots()
