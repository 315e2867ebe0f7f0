"""Links between the processes of a pool, and what waits for them.

Inside one host a link is a Unix stream socket in a folder that only its owner can enter: no thread stands between the two
processes, which is what makes a round trip short. Between hosts, and where no short enough path can be had, it is ZeroMQ
over TCP with CURVE: the pool's side has one key pair, and a gate lets in only the keys that were handed out for that very
door, so that what a manager holds cannot submit tasks. Both look the same from outside: a *door* is what a pool listens
at, a *line* is what leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.links.folders import folder_address, own_folder, process_started, socket_folder
from shoal.links.link import MAX_FRAME, MAX_HEADER, Door, Line, PeerGone
from shoal.links.poll import Poll
from shoal.links.pulse import Pulse
from shoal.links.unix import UnixDoor, UnixLine
from shoal.wire.starting import Address

if TYPE_CHECKING:
    from shoal.links.curve import Gate

__all__ = [
    "MAX_FRAME",
    "MAX_HEADER",
    "Door",
    "Line",
    "PeerGone",
    "Poll",
    "Pulse",
    "UnixDoor",
    "dial",
    "folder_address",
    "listen",
    "own_folder",
    "process_started",
    "socket_folder",
]

_UNIX = "unix://"


def listen(
    wanted: Address | None, gate: Callable[[], Gate], domain: str, interface: str = "127.0.0.1"
) -> tuple[Door, Address]:
    """Open a door.

    Args:
        wanted: a Unix address, or None for TCP with CURVE.
        gate: makes (or gives) what lets in who comes over TCP; called for TCP only.
        domain: the door's name for its gate.
        interface: the address to bind to, for TCP.

    Returns:
        The door, and the address for those who connect.
    """
    if wanted is not None:
        return UnixDoor(wanted.url.removeprefix(_UNIX)), wanted
    return gate().open(domain, interface)


def dial(address: Address) -> Line:
    """A line to ``address``, which is reached at once or as soon as somebody listens there."""
    if address.url.startswith(_UNIX):
        return UnixLine(address.url.removeprefix(_UNIX))
    from shoal.links.curve import CurveLine  # zmq takes a while to load, and is not needed inside a host

    return CurveLine(address)
