"""The store: what was put is found, what is damaged is not, and it does not grow beyond its limit."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shoal.errors import ConfigurationError
from shoal.memo.store import MemoStore, default_folder
from shoal.outcome import Failure, Payload
from shoal.serialize import pack, unpack
from shoal.wire.frames import outside

GIB = 1 << 30


def key(number: int) -> bytes:
    return number.to_bytes(4, "big") * 8


class Warnings(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def warned() -> Warnings:
    """What the store complained about."""
    return Warnings()


@pytest.fixture
def store(tmp_path: Path, warned: Warnings) -> MemoStore:
    """An empty store."""
    return MemoStore(tmp_path / "memo", GIB, warned)


def files(store: MemoStore) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("wrap", [lambda p: p, outside], ids=["plain", "as it came over a wire"])
def test_what_was_put_is_found(store: MemoStore, tmp_path: Path, wrap: Any) -> None:
    """Several values, small and large, by any store of the same folder; arrays are private and writable."""
    values = [1, "text" * 10_000, np.arange(10_000), {"a": np.ones(5000), "b": b"x" * 50_000}, b"y" * 20_000]
    assert store.put(key(1), "fit", [wrap(pack(value)) for value in values])
    for reader in (store, MemoStore(tmp_path / "memo", GIB)):
        found = reader.get(key(1))
        assert isinstance(found, list)
        objects = [unpack(payload) for payload in found]
        np.testing.assert_equal(objects, values)
        objects[2][0] = 99
        assert unpack(found[2])[0] == 0
    assert store.get(key(2)) is None


def test_a_failure_is_found_as_such(store: MemoStore) -> None:
    """With its traceback and its pickled exception."""
    failure = Failure("ValueError", "bad", "the traceback", [], b"pickled")
    assert store.put(key(1), "fit", failure)
    assert store.get(key(1)) == failure


def test_no_values_are_a_result_too(store: MemoStore) -> None:
    """A value whose pickle is empty does not exist; an empty list does."""
    store.put(key(1), "fit", [])
    assert store.get(key(1)) == []


@pytest.mark.parametrize("what", ["values", "failure"])
def test_a_file_cut_at_any_byte_is_a_miss(store: MemoStore, what: str) -> None:
    """And is removed, so that the result is made again."""
    failure = Failure("ValueError", "bad", "the traceback")
    store.put(key(1), "fit", [pack([1, 2]), Payload(b"head", (b"buffer",))] if what == "values" else failure)
    (path,) = files(store)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.get(key(1)) is None
        assert not path.exists()
    path.write_bytes(whole + b"\0")
    assert store.get(key(1)) is None
    path.write_bytes(whole)
    assert store.get(key(1)) is not None


@pytest.mark.parametrize("what", ["values", "failure"])
def test_a_file_with_any_byte_flipped_is_a_miss(store: MemoStore, what: str) -> None:
    """Never another value, never an exception, for each bit of each byte."""
    failure = Failure("ValueError", "bad", "the traceback")
    store.put(key(1), "fit", [pack([1, 2]), Payload(b"head", (b"buffer",))] if what == "values" else failure)
    (path,) = files(store)
    whole = path.read_bytes()
    for spot in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 1 << bit]) + whole[spot + 1 :])
            assert store.get(key(1)) is None, (spot, bit)


def test_its_size_stays_within_the_limit_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    """A result that was read lately stays."""
    store = MemoStore(tmp_path / "memo", 100_000)
    for number in range(200):
        assert store.put(key(number), "fit", [Payload(bytes(4000))])
        for path in files(store):
            if path.name != key(number).hex():
                continue
            os.utime(path, (number, number))
        if number > 3:
            assert store.get(key(3)) is not None
        assert sum(path.stat().st_size for path in files(store)) <= 100_000
    kept = {entry.key for entry in store.entries()}
    assert key(3).hex() in kept
    assert key(199).hex() in kept
    assert key(100).hex() not in kept
    assert len(kept) > 15


def test_what_others_put_counts_too(tmp_path: Path) -> None:
    """Two stores of one folder, as two processes have them, keep to the limit together after a while."""
    one, two = MemoStore(tmp_path / "memo", 1_000_000), MemoStore(tmp_path / "memo", 1_000_000)
    for number in range(600):
        (one, two)[number % 2].put(key(number), "fit", [Payload(bytes(4000))])
    assert sum(path.stat().st_size for path in files(one)) <= 2_000_000
    for number in range(600, 900):
        one.put(key(number), "fit", [Payload(bytes(4000))])
    assert sum(path.stat().st_size for path in files(one)) <= 1_000_000


def test_results_from_the_future_do_not_outlast_all_others(tmp_path: Path) -> None:
    """After the clock was set back they count as used now, and go when newer ones come."""
    store = MemoStore(tmp_path / "memo", 20_000)
    assert store.put(key(0), "fit", [Payload(bytes(4000))])
    (path,) = files(store)
    os.utime(path, (4e9, 4e9))
    (entry,) = store.entries()
    assert entry.used == pytest.approx(time.time(), abs=60)
    assert path.stat().st_mtime == pytest.approx(time.time(), abs=60)


def test_a_large_store_is_looked_through_seldom(store: MemoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The more is in it, the longer that takes: a result put costs the same however many are there."""
    looks = 0
    many = [(0.0, 10, store.folder / "none")] * 20_000

    def scan(_: MemoStore) -> Any:
        nonlocal looks
        looks += 1
        return (SimpleNamespace(used=used, bytes=size, path=path) for used, size, path in many)

    monkeypatch.setattr(MemoStore, "_scan", scan)
    for number in range(2000):
        store.put(key(number % 10), "fit", [Payload(b"")])
    assert looks == 1


def test_a_result_larger_than_the_store_is_not_kept(tmp_path: Path, warned: Warnings) -> None:
    """And removes no other."""
    store = MemoStore(tmp_path / "memo", 10_000, warned)
    assert store.put(key(1), "fit", [Payload(bytes(4000))])
    assert not store.put(key(2), "fit", [Payload(bytes(40_000))])
    assert store.get(key(1)) is not None
    assert len(warned) == 1
    assert "too large" in warned[0]


def test_left_over_files_are_removed_after_an_hour(store: MemoStore) -> None:
    """Those that are being written now are not."""
    store.put(key(1), "fit", [Payload(b"x")])
    folder = files(store)[0].parent
    old, new = folder / ".new-1-a", folder / ".new-2-b"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert len(list(store.entries())) == 1
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_written_to_gives_one_warning(tmp_path: Path, warned: Warnings) -> None:
    """And no error: tasks go on."""
    (tmp_path / "file").write_text("no folder")
    store = MemoStore(tmp_path / "file" / "memo", GIB, warned)
    assert not store.put(key(1), "fit", [Payload(b"x")])
    assert not store.put(key(2), "fit", [Payload(b"x")])
    assert store.get(key(1)) is None
    assert store.clear() == (0, 0)
    assert len(warned) == 1


def test_a_full_disk_gives_one_warning_and_leaves_nothing_behind(
    store: MemoStore, warned: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was begun is removed."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert not store.put(key(1), "fit", [Payload(b"x")])
    assert not store.put(key(1), "fit", [Payload(b"x")])
    assert files(store) == []
    assert len(warned) == 1
    assert "No space left" in warned[0]


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """For reading a result runs code."""
    for mode in (0o770, 0o702, 0o777):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        with pytest.raises(ConfigurationError, match="chmod 700"):
            MemoStore(folder, GIB)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its mode; and so is a file of somebody else's."""
    store = MemoStore(tmp_path / "memo", GIB)
    store.put(key(1), "fit", [Payload(b"x")])
    assert store.get(key(1)) is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert store.get(key(1)) is None
    with pytest.raises(ConfigurationError, match="must be yours"):
        MemoStore(tmp_path / "memo", GIB)


def test_files_and_folders_are_private(store: MemoStore) -> None:
    """Modes 0600 and 0700, whatever the umask."""
    before = os.umask(0)
    try:
        store.put(key(1), "fit", [Payload(b"x")])
    finally:
        os.umask(before)
    (path,) = files(store)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_file_is_not_followed(store: MemoStore, tmp_path: Path) -> None:
    """It counts as absent."""
    store.put(key(1), "fit", [Payload(b"x")])
    (path,) = files(store)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.get(key(1)) is None


def test_entries_and_clearing(store: MemoStore) -> None:
    """By app, by age, and all; what is damaged goes with all."""
    for number in range(6):
        store.put(key(number), "fit" if number % 2 else "score", [Payload(bytes(100))])
    for path in files(store)[:3]:
        os.utime(path, (1000, 1000))
    entries = list(store.entries())
    assert {entry.label for entry in entries} == {"fit", "score"}
    assert all(entry.bytes > 100 and entry.created > 1e9 for entry in entries)
    assert sum(entry.used == 1000 for entry in entries) == 3
    old_fits = sum(entry.used == 1000 and entry.label == "fit" for entry in entries)
    assert store.clear("fit", older=3600)[0] == old_fits
    assert store.clear("fit")[0] == 3 - old_fits
    assert store.clear(older=3600)[0] == 3 - old_fits
    files(store)[0].write_bytes(b"damaged")
    left = len(files(store))
    count, size = store.clear()
    assert (count, files(store)) == (left, [])
    assert size >= 7


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In SHOAL_HOME if that is set, else in the user's cache."""
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "memo"
    monkeypatch.delenv("SHOAL_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_folder() == tmp_path / "cache" / "shoal" / "memo"
