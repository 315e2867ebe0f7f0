"""Runs every check of the project, and ends with what failed, and what was skipped and why.

One line a step; a failing step does not keep the others from running. With ``--no-skips`` a skip is a failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
REPORT = ROOT / ".stamps" / "tests.xml"

LINT = {
    "ruff": [str(BIN / "ruff"), "check", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "--quiet", "."],
    "mypy": [str(BIN / "mypy")],
    "imports": [str(BIN / "lint-imports"), "--no-cache"],
    "eslint": ["npm", "run", "--silent", "lint"],
    "tsc": ["npm", "run", "--silent", "typecheck"],
}
TESTS = {
    "javascript": ["npm", "run", "--silent", "test"],
    "pytest": [str(BIN / "python"), "-m", "pytest", "-q", f"--junit-xml={REPORT}"],
}


def main() -> int:
    """Run the steps that were asked for; 0 if all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lint-only", action="store_true")
    parser.add_argument("--no-skips", action="store_true", help="a skipped test is a failure")
    options, pytest_arguments = parser.parse_known_args()
    steps = LINT if options.lint_only else {**LINT, **TESTS}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.unlink(missing_ok=True)
    results = {}
    for name, command in steps.items():
        results[name] = step(name, [*command, *pytest_arguments] if name == "pytest" else command)
    return summary(results, strict=options.no_skips)


def step(name: str, command: list[str]) -> tuple[bool, float]:
    """Run one step; whether it succeeded, and how long it took in seconds."""
    say(f"\n=== {name}: {' '.join(Path(command[0]).name if i == 0 else part for i, part in enumerate(command))}")
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=False)
    return done.returncode == 0, time.monotonic() - began


def skipped_tests() -> list[tuple[str, str]]:
    """Each skipped test of the last run, with the reason; none if pytest did not run."""
    if not REPORT.exists():
        return []
    return sorted(
        (f"{case.get('classname')}::{case.get('name')}", skip.get("message") or "no reason given")
        for case in ET.parse(REPORT).iter("testcase")
        for skip in case.iter("skipped")
    )


def summary(results: dict[str, tuple[bool, float]], *, strict: bool) -> int:
    """Tell how it went; 0 if all went well."""
    say("\n=== summary")
    for name, (ok, seconds) in results.items():
        say(f"{'passed' if ok else 'FAILED'}  {name}  ({seconds:.1f} s)")
    skips = skipped_tests()
    if "pytest" in results:
        say(f"\nskipped: {len(skips) or 'nothing'}")
    for test, reason in skips:
        say(f"  {test}: {reason}")
    if skips and strict:
        say("\nA skip counts as a failure here.")
    return int(not all(ok for ok, _ in results.values()) or bool(skips and strict))


def say(line: str) -> None:
    """Print now: the steps write to the same place."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
