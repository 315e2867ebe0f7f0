"""Blobs by digest, the least recently used dropped first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.dispatch.blobs import BlobStore


def test_the_least_recently_used_goes_first():
    """Reading a blob keeps it; what was not read for longest makes room."""
    store = BlobStore(30)
    for name in (b"a", b"b", b"c"):
        assert store.add(name, bytes(10)) == []
    assert store.get(b"a") == bytes(10)
    assert store.add(b"d", bytes(10)) == [b"b"]
    assert b"a" in store
    assert store.get(b"b") is None


def test_a_blob_larger_than_the_limit_is_kept_alone():
    """A single blob is always kept, or the tasks that need it could never run."""
    store = BlobStore(10)
    store.add(b"a", bytes(5))
    assert store.add(b"b", bytes(50)) == [b"a"]
    assert store.get(b"b") == bytes(50)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40))))
def test_the_size_is_the_sum_of_what_is_kept(adds):
    """However blobs come, the count of bytes is right and within the limit, unless one blob alone is larger."""
    store = BlobStore(100)
    sizes: dict[bytes, int] = {}
    for name, size in adds:
        digest = bytes([name])
        if digest not in store:
            sizes[digest] = size
        for gone in store.add(digest, bytes(sizes[digest])):
            del sizes[gone]
    assert store.nbytes == sum(sizes.values())
    assert store.nbytes <= 100
