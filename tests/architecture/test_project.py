"""The files around the code: versions, locks, generated files, TypeScript."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tomllib
from importlib.metadata import version

from sources import ROOT

SOURCES = ROOT / "labextension" / "src"


def tracked_files() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_one_version_everywhere():
    """Python package and lab extension carry one version, the installed one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    lab = json.loads((ROOT / "package.json").read_text())["version"]
    locked = json.loads((ROOT / "package-lock.json").read_text())["version"]
    assert {project, lab, locked, version("shoal")} == {project}


def test_the_lock_names_no_addresses():
    """package-lock.json holds versions and checksums, not where they were downloaded from, and stays so."""
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert "omit-lockfile-registry-resolved=true" in (ROOT / ".npmrc").read_text().splitlines()


def test_no_other_locks_are_kept():
    """Locks that name hosts are not part of the project."""
    unwanted = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "yarn.lock", "pnpm-lock.yaml"}
    assert unwanted & {path.rpartition("/")[2] for path in tracked_files()} == set()


def test_built_files_are_not_kept():
    """What a build makes is made again, not stored."""
    built = ("labextension/shoal_lab/labextension/", "kernel/shoal_kernel/static/graph.js", "node_modules/", ".stamps/")
    assert [path for path in tracked_files() if path.startswith(built)] == []


def test_the_types_of_the_api_are_generated():
    """labextension/src/api.ts is what tools/make_api.py makes of the Python types today."""
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "tools" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    make_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_api)
    assert (SOURCES / "api.ts").read_text() == make_api.generate(), "run `make api`"


def test_typescript_has_no_any():
    """No TypeScript of the project says `any` or silences the compiler."""
    bad = re.compile(r"(?<![\w.])any(?=\s*[;,)>\]|&=\[])|@ts-(ignore|nocheck|expect-error)|eslint-disable")
    found = []
    for path in [*SOURCES.rglob("*.ts"), *SOURCES.rglob("*.tsx")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line if "@ts-" in line or "eslint" in line else re.sub(r"//.*|/?\*.*|'[^']*'", "", line)
            if bad.search(code):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_typescript_is_strict():
    """The compiler's strict mode is on."""
    text = (ROOT / "labextension" / "tsconfig.json").read_text()
    options = json.loads(text)["compilerOptions"]
    assert options["strict"]
    assert options["noUncheckedIndexedAccess"]


def test_the_entry_of_the_lab_extension_is_short():
    """index.ts wires plugins together, in fewer than 100 lines."""
    assert len((SOURCES / "index.ts").read_text().splitlines()) < 100


def test_only_one_file_calls_the_server():
    """All requests of the panel pass through request.ts."""
    callers = [
        path.name
        for path in [*SOURCES.rglob("*.ts"), *SOURCES.rglob("*.tsx")]
        if re.search(r"makeRequest|\bfetch\(|XMLHttpRequest|new WebSocket", path.read_text())
    ]
    assert callers == ["request.ts"]


def test_styles_follow_the_theme():
    """Colours of the panel come from JupyterLab's variables, so that every theme fits."""
    css = (ROOT / "labextension" / "style" / "panel.css").read_text()
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", css) == []
