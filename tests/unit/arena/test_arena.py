"""Values that are lent in shared memory, writer and readers in one process."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.arena import Arena, Library, close_unless_lent, give_back
from shoal.arena.layout import DATA, ENTRIES, place_of
from shoal.errors import LoanGone, ProtocolError
from shoal.outcome import Payload
from shoal.wire.frames import Lent

MB = 1 << 20


def sent(lent: Lent | None) -> Lent:
    """As it arrives at a reader."""
    assert lent is not None
    return Lent(bytes(lent.packed))


def test_a_kept_loan_is_read_until_it_is_let_go() -> None:
    """Readers see the value as long as the writer keeps the loan; then they hear that it is gone, and its place is free."""
    arena, library = Arena(MB), Library()
    loan = arena.keep(b"value" * 1000)
    assert loan is not None
    lent = sent(loan)
    assert bytes(library.view(lent)) == bytes(loan.data) == b"value" * 1000
    assert len(lent) == 5000
    library.check(lent)
    assert arena.lent == 8192
    del loan
    assert arena.lent == 0
    with pytest.raises(LoanGone):
        library.view(lent)
    with pytest.raises(LoanGone):
        library.check(lent)


def test_views_cannot_be_written_to() -> None:
    """Neither the writer's nor the readers'."""
    arena, library = Arena(MB), Library()
    loan = arena.keep(b"x" * 100)
    assert loan is not None
    for view in (loan.data, library.view(sent(loan)), library.borrow(sent(loan), deque()).data):
        with pytest.raises(TypeError):
            view[0] = 1


def test_a_given_value_is_the_readers_until_it_is_gone() -> None:
    """Its place is free once the reader's object is gone, and not before; the reader's account hears of it."""
    arena, library, account = Arena(MB), Library(), deque[int]()
    borrowed = library.borrow(sent(arena.give(b"result" * 1000)), account)
    again = arena.give(b"other" * 1000)
    assert bytes(borrowed.data) == b"result" * 1000
    assert arena.lent == 16384
    del borrowed
    assert list(account) == [6000]
    assert arena.lent == 8192
    del again  # that is only where it lies
    assert arena.lent == 8192


def test_a_reused_place_is_seen_as_gone() -> None:
    """Another value lies where a loan says, of the same size: the reader is not deceived."""
    arena, library = Arena(MB), Library()
    first = sent(arena.keep(b"a" * 5000))
    second = arena.keep(b"b" * 5000)
    assert second is not None
    assert place_of(second.packed).start == place_of(first.packed).start
    assert bytes(library.view(sent(second))) == b"b" * 5000
    with pytest.raises(LoanGone):
        library.view(first)


def test_giving_back_late_does_no_harm() -> None:
    """A reader that lets go of what is gone already leaves the value alone that is there now."""
    arena, library, account = Arena(MB), Library(), deque[int]()
    loan = arena.keep(b"a" * 5000)
    borrowed = library.borrow(sent(loan), account)
    del loan
    given = sent(arena.give(b"b" * 5000))
    assert place_of(given.packed).entry == place_of(borrowed.packed).entry
    del borrowed
    assert arena.lent == 8192
    assert bytes(library.view(given)) == b"b" * 5000


def test_a_forks_copy_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a forked process drops at its end is still the parent's."""
    arena, library, account = Arena(MB), Library(), deque[int]()
    borrowed = library.borrow(sent(arena.give(b"a" * 5000)), account)
    with monkeypatch.context() as child:
        child.setattr("shoal.arena.lending.forks", lambda: 99)
        borrowed.__del__()
    assert arena.lent == 8192
    assert not account


def test_what_nobody_will_read_is_given_back() -> None:
    """All parts of a value that were lent, and nothing else."""
    arena = Arena(MB)
    kept = sent(arena.give(b"k" * 100))
    dropped = Payload(sent(arena.give(b"d" * 100)), (b"plain", sent(arena.give(b"e" * 100))))
    give_back([dropped, Payload(b"head")])
    assert arena.lent == 4096
    give_back([dropped])
    assert bytes(Library().view(kept)) == b"k" * 100


def test_no_room_is_no_loan() -> None:
    """Neither for one that is too large, nor when all is lent; then again when something came back."""
    arena = Arena(10 * 4096)
    assert arena.keep(b"x" * (10 * 4096 + 1)) is None
    loans = [arena.keep(b"x" * 4096) for _ in range(10)]
    assert all(loans)
    assert arena.keep(b"x") is None
    assert arena.give(b"x") is None
    loans.pop()
    assert arena.give(b"x") is not None


def test_a_full_table_is_no_loan() -> None:
    """There are only so many entries; values that are given back make room."""
    arena, library = Arena(ENTRIES * 4096), Library()
    given = [sent(arena.give(b"x")) for _ in range(ENTRIES - 1)]
    assert arena.give(b"x") is None
    give_back([Payload(lent) for lent in given])
    assert arena.lent == 0
    loan = arena.keep(b"y" * 100)
    assert bytes(library.view(sent(loan))) == b"y" * 100


def test_room_that_many_readers_give_back_is_found() -> None:
    """Where they have many values it is not looked at each time, but soon."""
    arena, library, account = Arena(2000 * 4096), Library(), deque[int]()
    held = [library.borrow(sent(arena.give(b"x" * 4096)), account) for _ in range(2000)]
    held.clear()
    assert any(arena.give(b"y") is not None for _ in range(200))
    assert arena.lent < 200 * 4096


def test_memory_is_given_back_after_use() -> None:
    """When nothing is lent any more, most of what was used goes back to the system, and all can be used again."""
    arena, library = Arena(200 * MB), Library()
    loans = [arena.keep(bytes([n]) * (20 * MB)) for n in range(8)]
    assert None not in loans
    blocks = os.stat(f"/proc/self/fd/{arena.at[1]}").st_blocks * 512
    assert blocks >= 160 * MB
    loans.clear()
    assert arena.lent == 0
    assert os.stat(f"/proc/self/fd/{arena.at[1]}").st_blocks * 512 <= 65 * MB
    loan = arena.keep(b"z" * (150 * MB))
    assert loan is not None
    assert bytes(library.view(sent(loan))[-5:]) == b"zzzzz"


def test_what_cannot_be_opened_is_gone() -> None:
    """A process that is gone, a descriptor that is closed or something else, and nonsense are named as such."""
    arena, library = Arena(MB), Library()
    loan = arena.keep(b"x" * 100)
    assert loan is not None
    place = place_of(loan.packed)
    with open(os.devnull) as null, pytest.raises(LoanGone):
        library.view(Lent(place._replace(fd=null.fileno()).packed()))
    other = Arena(MB)
    for changed in (
        place._replace(pid=2**22 + 5),
        place._replace(fd=9999),
        place._replace(fd=other.at[1]),
        place._replace(serial=place.serial + 2),
        place._replace(size=2 * MB),
        place._replace(use=place.use + 2),
    ):
        with pytest.raises(LoanGone):
            library.view(Lent(changed.packed()))
    for nonsense in (b"", b"x" * 44, place._replace(start=0).packed(), place._replace(entry=ENTRIES).packed()):
        with pytest.raises(ProtocolError):
            library.view(Lent(nonsense))
    assert bytes(library.view(sent(loan))) == b"x" * 100


def test_what_was_opened_stays_readable() -> None:
    """The writer ends; who has borrowed keeps what it has."""
    arena, library = Arena(MB), Library()
    borrowed = library.borrow(sent(arena.give(b"x" * 100)), deque())
    arena.close()
    gc.collect()
    assert bytes(borrowed.data) == b"x" * 100
    with pytest.raises(LoanGone):
        Library().view(sent(borrowed))


def test_no_descriptor_is_left() -> None:
    """An arena that is gone, and a library that is gone, have closed all that they had opened."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    arena, library = Arena(MB), Library()
    borrowed = library.borrow(sent(arena.give(b"x")), deque())
    loan = arena.keep(b"y")
    del arena, library, borrowed, loan
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_arena_that_cannot_be_had_leaves_nothing() -> None:
    """More than a file can be is an error, and no descriptor stays open."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"."):
        Arena(1 << 62)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


# --------------------------------------------------------------------------- of a writer that is gone


def file_of(arena: Arena) -> int:
    """The file, as a manager has it of a worker's arena."""
    return os.dup(arena.at[1])


def test_the_file_of_a_gone_writer_stays_while_it_is_lent() -> None:
    """It is closed once its last reader is done, and takes no memory then, whoever has it still mapped."""
    arena, library = Arena(8 * MB), Library()
    fd = file_of(arena)
    borrowed = library.borrow(sent(arena.give(b"x" * (4 * MB))), deque())
    arena.close()
    assert not close_unless_lent(fd)
    witness = os.dup(fd)
    assert bytes(borrowed.data[:3]) == b"xxx"
    del borrowed
    assert close_unless_lent(fd)
    assert os.fstat(witness).st_blocks == 0
    os.close(witness)


def test_what_was_never_sent_keeps_no_file() -> None:
    """A writer that ended between putting a value in and sending it: nobody will give it back."""
    arena, library = Arena(MB), Library()
    fd = file_of(arena)
    arena.give(b"cut off", mark=77)
    borrowed = library.borrow(sent(arena.give(b"sent before", mark=76)), deque())
    arena.close()
    assert not close_unless_lent(fd, {77})
    assert bytes(borrowed.data) == b"sent before"
    del borrowed
    assert not close_unless_lent(fd)
    assert close_unless_lent(fd, {77})


def test_a_file_that_was_never_used_is_closed() -> None:
    """A worker that lent nothing has an empty one."""
    fd = os.memfd_create("test")
    assert close_unless_lent(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_stale_readers_of_a_closed_file_see_that_it_is_gone() -> None:
    """Who looks late at what nobody had lent any more is not deceived."""
    arena, library = Arena(MB), Library()
    fd = file_of(arena)
    lent = sent(arena.give(b"x" * 100))
    library.view(lent)
    give_back([Payload(lent)])
    assert close_unless_lent(fd)
    with pytest.raises(LoanGone):
        library.view(lent)


# --------------------------------------------------------------------------- interrupts


def interrupted_at(step: int, call: Any) -> bool:
    """Call, and raise KeyboardInterrupt in it before its ``step``-th line; whether it came so far."""
    left = step

    def strike(frame: Any, event: str, arg: Any) -> Any:
        nonlocal left
        code = frame.f_code
        # Not in ``keep`` itself: the end of its ``with`` is a line of its own here, but no place where Ctrl-C is looked for.
        if "shoal/arena/" in code.co_filename and code.co_name != "keep":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return strike

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(strike)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before[0])
    return False


def test_an_interrupt_loses_no_memory_and_mixes_nothing_up() -> None:
    """Ctrl-C at any line while a value is put in, others being given back: what is lent stays as it is, the rest is free."""
    step = 0
    came = True
    while came:
        step += 1
        arena, library, account = Arena(40 * 4096), Library(), deque[int]()
        kept = [arena.keep(bytes([n]) * 5000) for n in range(4)]
        given = [library.borrow(sent(arena.give(bytes([n + 10]) * 5000)), account) for n in range(4)]
        del kept[1], given[2]
        made: list[Any] = []
        came = interrupted_at(step, lambda: made.append(arena.keep(b"new" * 3000)))  # noqa: B023
        for n in range(6):
            made.append(arena.keep(bytes([n + 50]) * 5000))
        assert [bytes(loan.data[:1])[0] for loan in kept] == [0, 2, 3]
        assert all(len(set(bytes(loan.data))) == 1 for loan in [*kept, *given])
        assert [bytes(loan.data[:1])[0] for loan in given] == [10, 11, 13]
        del kept, given, made
        assert arena.lent == 0, f"interrupted at step {step}"
        assert arena.keep(b"x" * (40 * 4096)) is not None
    assert step > 30


# --------------------------------------------------------------------------- all together

steps = st.lists(
    st.tuples(st.sampled_from(["keep", "give", "let go", "read"]), st.integers(1, 40_000), st.integers(0, 99)),
    max_size=50,
)


@settings(deadline=None)
@given(steps)
def test_values_stay_what_they_are(wanted: list[tuple[str, int, int]]) -> None:
    """Whatever is lent and given back in whatever order: what is lent reads as it was put in; in the end all is free."""
    arena, library, account = Arena(40 * mmap.PAGESIZE), Library(), deque[int]()
    held: list[tuple[Any, bytes]] = []
    seed = 0
    for what, size, which in wanted:
        seed += 1
        data = bytes([seed % 256]) * size
        if what == "keep":
            loan: Any = arena.keep(data)
        elif what == "give":
            lent = arena.give(data)
            loan = lent and library.borrow(sent(lent), account)
        elif held and what == "let go":
            del held[which % len(held)]
            continue
        else:
            loan = None
        if loan is not None:
            held.append((loan, data))
        for loan, data in held:
            assert bytes(loan.data) == data
            assert bytes(library.view(sent(loan))) == data
    loan = None
    held.clear()
    assert arena.lent == 0
    assert arena.keep(b"x" * arena.limit) is not None


def test_the_table_lies_before_the_values() -> None:
    """No value begins in it."""
    loan = Arena(MB).keep(b"x")
    assert loan is not None
    assert place_of(loan.packed).start >= DATA
