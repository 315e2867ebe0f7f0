"""`make test`: how it tells of failures and of skipped tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

REPORT = """<testsuites><testsuite>
<testcase classname="tests.ui.test_panel" name="test_b"><skipped type="pytest.skip" message="no Chromium is installed"/></testcase>
<testcase classname="tests.unit.test_a" name="test_a"/>
</testsuite></testsuites>"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the report of a run in which one test was skipped."""
    path = Path(__file__).parents[2] / "tools" / "check.py"
    spec = importlib.util.spec_from_file_location("check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = tmp_path / "tests.xml"
    report.write_text(REPORT)
    monkeypatch.setattr(module, "REPORT", report)
    return module


def test_skipped_tests_are_named_with_their_reasons(check: ModuleType, capsys: pytest.CaptureFixture[str]):
    """The run ends with each skipped test and why; that alone is no failure."""
    assert check.summary({"ruff": (True, 0.1), "pytest": (True, 2.0)}, strict=False) == 0
    assert "tests.ui.test_panel::test_b: no Chromium is installed" in capsys.readouterr().out


def test_a_skip_is_a_failure_where_it_is_said_so(check: ModuleType):
    """With --no-skips the same run fails."""
    assert check.summary({"pytest": (True, 2.0)}, strict=True) == 1


def test_one_failing_step_fails_it_all(check: ModuleType, capsys: pytest.CaptureFixture[str]):
    """Every step is told, and any failure counts."""
    assert check.summary({"ruff": (False, 0.1), "pytest": (True, 2.0)}, strict=False) == 1
    assert "FAILED  ruff" in capsys.readouterr().out


def test_a_run_without_skips_says_so(check: ModuleType, capsys: pytest.CaptureFixture[str]):
    """Nothing skipped is worth a line as well."""
    check.REPORT.write_text("<testsuites/>")
    assert check.summary({"pytest": (True, 2.0)}, strict=True) == 0
    assert "skipped: nothing" in capsys.readouterr().out
