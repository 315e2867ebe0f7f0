"""What type checkers see of apps."""

from __future__ import annotations

import re
from pathlib import Path

import mypy.api

ROOT = Path(__file__).parents[2]

SNIPPET = """
import operator
from shoal.apps import bash_app, join_app, python_app

@python_app
def plain(x: int) -> float: return x

@python_app(executors="a", retries=2)
def called(x: int, *, y: str = "") -> str: return y

@python_app
async def later(x: int) -> list[int]: return [x]

@python_app(cores=2)
async def later_called(x: int) -> list[int]: return [x]

@bash_app
def command(x: str) -> str: return x

@join_app
def join(x: int) -> object: return [plain(x)]

class Model:
    @python_app
    def fit(self, x: int) -> float: return x

reveal_type(plain)                        # PythonApp[[x: int], float]
reveal_type(plain(plain(1)))              # TaskFuture[float]
reveal_type(plain(1, walltime=3))         # TaskFuture[float]
reveal_type(called(1, y="").result())     # str
reveal_type(later(1))                     # TaskFuture[list[int]]
reveal_type(later_called(1))              # TaskFuture[list[int]]
reveal_type(command("a"))                 # TaskFuture[int]
reveal_type(join(1))                      # TaskFuture[Any]
reveal_type(Model().fit(3))               # TaskFuture[float]
reveal_type(Model().fit.map([3]))         # list[ValueFuture[float]]
reveal_type(plain.map([1]))               # list[ValueFuture[float]]
"""


def test_type_checkers_know_what_calls_return(tmp_path: Path):
    """Futures of what the function returns, or of what it is awaited for; a mistaken option is an error."""
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET + 'python_app(executor="x")\n')
    options = [
        "--strict",
        "--follow-imports=silent",
        "--no-error-summary",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "snippet"),
    ]
    told, wrong, _ = mypy.api.run([*options, "--config-file=", str(file)])
    assert wrong == ""
    revealed = [re.sub(r"shoal\.[a-z.]+\.", "", text) for text in re.findall(r'Revealed type is "(.*)"', told)]
    assert revealed == re.findall(r"#\s+(.+)", SNIPPET)
    errors = [line for line in told.splitlines() if ": error:" in line]
    assert len(errors) == 1, told
    assert 'Unexpected keyword argument "executor"' in errors[0]
