"""``shoal completion bash|zsh|fish``: completes commands, options, and the names of pools."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from shoal.pool.connection import list_connections

__all__ = ["add_commands", "candidates"]

_BASH = """_shoal() {
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    mapfile -t COMPREPLY < <(compgen -W "$(shoal completion words -- "${words[@]}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _shoal shoal
"""
_ZSH = """autoload -Uz compinit && (( ${+functions[compdef]} )) || compinit
_shoal() {
    compadd -- ${(f)"$(shoal completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"}
}
compdef _shoal shoal
"""
_FISH = """complete -c shoal -f -a '(shoal completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"""
_SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_commands(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add ``completion`` to the commands of a parser.

    Args:
        commands: what ``add_subparsers`` returned.
        parser: the whole, whose words are completed.
    """
    completion = commands.add_parser(
        "completion", help='print what makes a shell complete: eval "$(shoal completion bash)"'
    )
    completion.add_argument("shell", choices=[*_SHELLS, "words"], metavar="SHELL", help="bash, zsh or fish")
    completion.add_argument("typed", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    completion.set_defaults(run=lambda options: _print(options, parser))


def _print(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if options.shell == "words":
        typed = options.typed[1:] if options.typed[:1] == ["--"] else options.typed
        print("\n".join(candidates(parser, typed)))
    else:
        print(_SHELLS[options.shell], end="")
    return 0


def candidates(parser: argparse.ArgumentParser, typed: list[str]) -> list[str]:
    """What the last of some words can be.

    Args:
        parser: of the command.
        typed: the words after the command, the last one as far as it is typed.
    """
    *before, last = typed or [""]
    for word in before:
        inner = _subparsers(parser).get(word)
        if inner is not None:
            parser = inner
    if last.startswith("-"):
        found = [text for action in parser._actions for text in action.option_strings]
    else:
        found = [*_subparsers(parser), *_names(parser)]
    return sorted(text for text in found if text.startswith(last))


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The names of pools, where one is meant: but for a pool that is to be started."""
    wanted = any(action.dest in ("name", "pool") and not action.option_strings for action in parser._actions)
    if wanted and parser.prog != "shoal pool start":
        for connection in list_connections():
            yield connection.name
