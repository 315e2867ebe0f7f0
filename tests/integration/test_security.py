"""Who gets in at a pool's doors, and what those who do can spoil."""

from __future__ import annotations

import os
import re
import resource
import select
import socket
import stat
import struct
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.utils.z85
from zmq.utils.monitor import recv_monitor_message

from shoal.links import MAX_HEADER
from shoal.links.curve import Gate
from shoal.pool.manners import PATIENCE
from shoal.wire.frames import Codec
from shoal.wire.messages import (
    PROTOCOL_VERSION,
    Hello,
    PoolStatus,
    Refused,
    Register,
    StatusRequest,
    Tasks,
    Trouble,
    Welcome,
)
from shoal.wire.starting import Address
from tests.integration.conftest import eventually

PYTHON = ".".join(map(str, __import__("sys").version_info[:2]))
HELLO = Hello(PROTOCOL_VERSION, "session", "knocker", PYTHON, os.getpid())
REGISTER = Register(PROTOCOL_VERSION, 77, "host", 1, PYTHON, 1)
_OVER = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_OVER |= zmq.EVENT_DISCONNECTED


def negate(x):
    return -x


def addresses(client) -> dict[str, Address]:
    """Both doors of a client's pool, as its own files tell them."""
    told = msgspec.json.decode((Path(client.connection.folder) / "block-0.json").read_bytes())
    return {"clients": client.connection.clients, "managers": msgspec.convert(told["address"], Address)}


class Knocker:
    """A plain zmq DEALER, with whatever credentials."""

    def __init__(self, url: str, keys: tuple[str, str, str] | None, name: bytes = b"", plain: bool = False) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if name:
            self.socket.routing_id = name
        if keys is not None:
            server, public, secret = (key.encode() for key in keys)
            self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = (
                server,
                public,
                secret,
            )
        if plain:
            self.socket.plain_username, self.socket.plain_password = b"root", b"root"
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _OVER)
        self.codec = Codec()
        self.socket.connect(url)

    def is_let_in(self) -> bool:
        """Whether the handshake succeeds."""
        assert self.monitor.poll(10_000), "neither let in nor refused"
        return recv_monitor_message(self.monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def ask(self, message, seconds: float = 10.0):
        """Send a message; the answer, None if none comes in time."""
        self.socket.send_multipart(self.codec.encode(message))
        return self.answer(seconds)

    def answer(self, seconds: float):
        if not self.socket.poll(int(seconds * 1000)):
            return None
        return self.codec.decode(self.socket.recv_multipart())

    def close(self) -> None:
        self.socket.disable_monitor()
        self.context.destroy(linger=0)


@pytest.fixture
def knock():
    """Makes knockers, and sees to their end."""
    made = []

    def make(*args, **options):
        made.append(Knocker(*args, **options))
        return made[-1]

    yield make
    for knocker in made:
        knocker.close()


def keys_of(address: Address) -> tuple[str, str, str]:
    return address.server, address.public, address.secret


def test_each_key_opens_its_own_door_and_nothing_else_does(pools, knock):
    """Over TCP: NULL and PLAIN, unknown keys, another server's key and the key of the other door are refused; the right one enters."""
    client = pools.start(workers=1, clients=None, managers=None)
    assert client.value(client.submit(negate, 4)[0]) == -4
    doors = addresses(client)
    for name, other, first in (("clients", "managers", HELLO), ("managers", "clients", REGISTER)):
        url = doors[name].url
        assert url.startswith("tcp://127.0.0.1:")
        own = keys_of(doors[name])
        fresh = tuple(key.decode() for key in zmq.curve_keypair())
        stranger_server = zmq.curve_keypair()[0].decode()
        for credentials in (
            {"keys": None},
            {"keys": None, "plain": True},
            {"keys": (own[0], *fresh)},
            {"keys": (stranger_server, *own[1:])},
            {"keys": keys_of(doors[other])},
        ):
            assert not knock(url, **credentials).is_let_in(), (name, credentials)
        right = knock(url, own)
        assert right.is_let_in()
        assert isinstance(right.ask(first), Welcome if name == "clients" else Refused)
    assert client.value(client.submit(negate, 5)[0]) == -5
    assert [m.slots for m in client.status().managers] == [1]


def test_what_a_manager_holds_does_not_submit_nor_a_clients_key_register(pools, knock):
    """Also where the key is right for the door, each door takes the messages that are for it and no others."""
    client = pools.start(workers=1, clients=None, managers=None)
    assert client.value(client.submit(negate, 4)[0]) == -4
    doors = addresses(client)
    at_managers = knock(doors["managers"].url, keys_of(doors["managers"]))
    for message in (HELLO, Tasks([]), StatusRequest(1)):
        at_managers.socket.send_multipart(at_managers.codec.encode(message))
    assert isinstance(at_managers.ask(REGISTER), Refused), "the only thing that is answered there"
    at_clients = knock(doors["clients"].url, keys_of(doors["clients"]))
    at_clients.socket.send_multipart(at_clients.codec.encode(REGISTER))
    status = at_clients.ask(StatusRequest(3))
    assert isinstance(status, PoolStatus)
    assert [m.slots for m in status.managers] == [1]
    assert status.malformed == 4


def test_the_door_gives_identities_and_nobody_takes_one_over(pools, knock):
    """A peer that brings a name of its own is not heard, so nobody can come in another's name, nor wait for it to be free."""
    client = pools.start(workers=1, clients=None, managers=None)
    assert client.value(client.submit(negate, 4)[0]) == -4
    door = addresses(client)["clients"]
    named = [knock(door.url, keys_of(door), name=name) for name in (b"me", b"me", b"\0\1", b"\0\1\2\3\4\5")]
    for knocker in named:
        assert knocker.is_let_in()
        knocker.socket.send_multipart(knocker.codec.encode(HELLO))
    # zmq itself does not listen to the second of a name.
    client.wait(lambda: client.status().malformed == 3)
    assert client.status().clients == ["a test"]
    assert all(knocker.answer(0.1) is None for knocker in named)
    unnamed = knock(door.url, keys_of(door))
    assert isinstance(unnamed.ask(HELLO), Welcome)


def test_keys_are_on_disk_for_the_owner_only_and_nowhere_else(pools):
    """No command line and no environment of a pool's processes holds a key, and the files that do have mode 0600."""
    client = pools.start(workers=1, clients=None, managers=None)
    assert client.value(client.submit(negate, 1)[0]) == -1
    secrets = {address.secret for address in addresses(client).values()}
    assert len(secrets) == 2
    roles = pools.roles(client)
    for role, processes in roles.items():
        assert processes, role
        for process in processes:
            for what in ("cmdline", "environ"):
                text = Path(f"/proc/{process.pid}/{what}").read_bytes().decode(errors="replace")
                assert not any(secret in text for secret in secrets), (role, what)
    holding = set()
    for folder in (Path(client.connection.folder), Path(os.environ["SHOAL_HOME"]) / "pools"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in folder.iterdir():
            if file.is_file() and any(secret in file.read_text(errors="replace") for secret in secrets):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
                holding.add(file.name)
    assert holding == {"block-0.json", f"{client.connection.name}.json"}


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize("door", ["clients", "managers"])
def test_who_sends_nonsense_is_ignored_after_a_while(pools, door, tcp):
    """Each piece is counted; after a few the sender is not heard any more, which is said once; others notice nothing."""
    client = pools.start(workers=1, **({"clients": None, "managers": None} if tcp else {}))
    assert client.value(client.submit(negate, 1)[0]) == -1
    address = addresses(client)[door]
    bad = pools.client(msgspec.structs.replace(client.connection, clients=address), hello=False)
    first = HELLO if door == "clients" else REGISTER
    bad.send(first)
    bad.wait(lambda: bad.inbox)
    for n in range(PATIENCE):
        bad.line.send([b"\x91\xa5wrong" + bytes([n])])
    client.wait(lambda: client.status().malformed >= PATIENCE)
    assert client.status().clients == ["a test"]
    said = (Path(client.connection.folder) / "pool.err").read_text()
    assert len(re.findall("is ignored at the", said)) == 1
    if tcp:
        if door == "clients":
            bad.wait(lambda: len(bad.of(Trouble)) == PATIENCE - 1)
        bad.inbox.clear()
        bad.send(first)
        client.status()
        assert not bad.read(0.2)
    assert client.value(client.submit(negate, 2)[0]) == -2
    assert client.status().malformed == PATIENCE


@pytest.mark.parametrize("door", ["clients", "managers"])
def test_raw_bytes_that_announce_the_impossible_cut_the_connection(pools, door):
    """A header above the limit, no frames, too many frames, a frame of exabytes: refused before memory is taken for it."""
    client = pools.start(workers=1)
    assert client.value(client.submit(negate, 1)[0]) == -1
    path = addresses(client)[door].url.removeprefix("unix://")
    before = pools.roles(client)["shoal.pool"][0].memory_info().rss
    for nonsense in (
        struct.pack("<II", 1, MAX_HEADER + 1),
        struct.pack("<II", 0, 0),
        struct.pack("<II", (1 << 16) + 1, 1),
        struct.pack("<IIQ", 2, 1, 1 << 62) + b"x",
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(path)
            raw.sendall(nonsense)
            assert select.select([raw], [], [], 10)[0], nonsense
            assert raw.recv(1) == b""
    assert client.status().malformed == 4
    # Announced, allowed, and never sent: it takes no memory.
    waiting = []
    for _ in range(4):
        raw = socket.socket(socket.AF_UNIX)
        waiting.append(raw)
        raw.connect(path)
        raw.sendall(struct.pack("<IIQ", 2, 1, 1 << 32) + b"xy")
    assert client.value(client.submit(negate, 2)[0]) == -2
    assert pools.roles(client)["shoal.pool"][0].memory_info().rss - before < 100 << 20
    for raw in waiting:
        raw.close()
    assert client.value(client.submit(negate, 3)[0]) == -3


def test_a_crowd_at_the_door_does_not_stop_who_is_in(pools):
    """Where descriptors run out newcomers are sent off, and nothing spins; those who are in go on, and later others get in."""
    client = pools.start(workers=1)
    assert client.value(client.submit(negate, 1)[0]) == -1
    (pool,) = pools.roles(client)["shoal.pool"]
    limits = resource.prlimit(pool.pid, resource.RLIMIT_NOFILE)
    usual = pool.num_fds()
    resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, (usual + 20, limits[1]))
    path = addresses(client)["clients"].url.removeprefix("unix://")
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for one in crowd:
        one.connect(path)
    sent_off = [one for one in crowd[50:] if select.select([one], [], [], 10)[0] and one.recv(1) == b""]
    assert len(sent_off) == 50
    before = sum(pool.cpu_times()[:2])
    assert client.value(client.submit(negate, 2)[0]) == -2
    select.select([], [], [], 0.5)
    assert sum(pool.cpu_times()[:2]) - before < 0.25
    for one in crowd:
        one.close()
    assert eventually(lambda: pool.num_fds() <= usual)
    late = pools.client(client.connection)
    assert late.value(late.submit(negate, 3)[0]) == -3


def test_a_large_value_crosses_tcp_in_pieces(pools):
    """Frames above what a door takes at once are cut and put together: 80 MB arrive as they were."""
    client = pools.start(workers=1, clients=None, managers=None)

    def double(data):
        return data + data

    data = os.urandom(1 << 20) * 40
    assert client.value(client.submit(double, data)[0], 60) == data + data


def test_a_gate_refuses_what_is_no_curve_request():
    """The gate judges by domain and key, both of which must be there."""
    gate = Gate()
    door, address = gate.open("clients", "127.0.0.1")
    other, elsewhere = gate.open("managers", "127.0.0.1")
    asker = gate.context.socket(zmq.REQ)
    asker.linger = 0
    asker.connect("inproc://zeromq.zap.01")
    key = zmq.utils.z85.decode(address.public)

    def verdict(domain: bytes, mechanism: bytes, *credentials: bytes) -> bytes:
        asker.send_multipart([b"1.0", b"7", domain, b"10.0.0.1", b"id", mechanism, *credentials])
        assert eventually(gate.ready)
        gate.answer()
        answer = asker.recv_multipart()
        assert answer[:2] == [b"1.0", b"7"]
        return answer[2]

    try:
        assert verdict(b"clients", b"CURVE", key) == b"200"
        assert verdict(b"managers", b"CURVE", key) == b"400"
        assert verdict(b"managers", b"CURVE", zmq.utils.z85.decode(elsewhere.public)) == b"200"
        assert verdict(b"", b"CURVE", key) == b"400"
        assert verdict(b"clients", b"PLAIN", key, key) == b"400"
        assert verdict(b"clients", b"NULL") == b"400"
        assert verdict(b"clients", b"CURVE", b"") == b"400"
    finally:
        asker.close()
        door.close()
        other.close()
        gate.close()
