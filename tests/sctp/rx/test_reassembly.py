"""Fragments to messages: every order of arrival, and naive models beside the clever structures."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtcsctp.errors import RemoteProtocolError
from rtcsctp.sctp.rx.reassembly import (
    FRAGMENT_OVERHEAD,
    DataReassembly,
    IDataReassembly,
    Reassembly,
    Whole,
)
from rtcsctp.sctp.wire.chunks import BEGIN, END, UNORDERED, Data

from .builders import WHOLE, cut, data, parts

LIMIT = 10_000

BOTH = pytest.mark.parametrize("kind", [DataReassembly, IDataReassembly])
ORDER = pytest.mark.parametrize("unordered", [False, True])
Kind = type[DataReassembly] | type[IDataReassembly]


def identity(message: Whole) -> tuple[int, bool, int, int, bytes]:
    return (
        message.stream_id,
        message.unordered,
        message.sequence,
        message.ppid,
        message.data,
    )


def feed(reassembly: Reassembly, chunks: list[Data]) -> list[Whole]:
    return [message for chunk in chunks if (message := reassembly.add(chunk)) is not None]


# ------------------------------------------------------------------------------- one message


@BOTH
@ORDER
def test_unfragmented_message_is_complete_at_once(kind: Kind, unordered: bool) -> None:
    reassembly = kind(LIMIT)
    (message,) = feed(
        reassembly, cut(5, [b"whole"], stream=3, sequence=9, unordered=unordered, ppid=53)
    )
    assert identity(message) == (3, unordered, 9, 53, b"whole")
    assert message.charge == 5 + FRAGMENT_OVERHEAD
    assert reassembly.held == 0


@BOTH
@ORDER
@pytest.mark.parametrize("count", [2, 3, 5])
def test_fragments_in_every_order_give_the_message(kind: Kind, unordered: bool, count: int) -> None:
    """Pitfall S21: any order of arrival works."""
    pieces = parts(count)
    for order in itertools.permutations(range(count)):
        chunks = cut(2**32 - 2, pieces, stream=7, sequence=4, unordered=unordered, ppid=99)
        reassembly = kind(LIMIT)
        held = 0
        for i in order[:-1]:
            assert reassembly.add(chunks[i]) is None
            held += len(pieces[i]) + FRAGMENT_OVERHEAD
            assert reassembly.held == held
        message = reassembly.add(chunks[order[-1]])
        assert message is not None
        assert identity(message) == (7, unordered, 4, 99, b"".join(pieces))
        assert message.charge == sum(map(len, pieces)) + count * FRAGMENT_OVERHEAD
        assert reassembly.held == 0


@BOTH
@pytest.mark.parametrize("shuffle", ["reversed", "odd ones first", "random"])
def test_long_messages_in_bad_orders_cost_no_more_than_in_order(kind: Kind, shuffle: str) -> None:
    """A run joins another by moving the shorter one: this would take minutes if it did not."""
    count = 30_000
    chunks = cut(1, [b"abc"] * count)
    if shuffle == "reversed":
        chunks.reverse()
    elif shuffle == "random":
        random.Random(1).shuffle(chunks)
    else:
        chunks = chunks[1::2] + chunks[::2]
    reassembly = kind(3 * count)
    (message,) = feed(reassembly, chunks)
    assert message.data == b"abc" * count
    assert reassembly.held == 0


# -------------------------------------------------------------------------- several messages


@BOTH
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param((1, 5, False), (1, 6, False), id="next message of the stream"),
        pytest.param((1, 5, True), (1, 6, True), id="unordered messages"),
        pytest.param((1, 5, False), (1, 5, True), id="ordered and unordered, same number"),
        pytest.param((1, 5, False), (2, 5, False), id="two streams, same number"),
        pytest.param((1, 65_535, False), (1, 65_536, False), id="over the wrap of the SSN"),
    ],
)
def test_adjacent_messages_never_merge(
    kind: Kind, first: tuple[int, int, bool], second: tuple[int, int, bool]
) -> None:
    """Pitfall S21: all 720 orders of two messages of three fragments with adjacent TSNs."""
    for order in itertools.permutations(range(6)):
        chunks: list[Data] = []
        for tsn, tag, (stream, sequence, unordered) in ((10, "a", first), (13, "b", second)):
            chunks += cut(
                tsn, parts(3, tag=tag), stream=stream, sequence=sequence, unordered=unordered
            )
        reassembly = kind(LIMIT)
        found = feed(reassembly, [chunks[i] for i in order])
        assert {message.data for message in found} == {b"<a0><a1><a2>", b"<b0><b1><b2>"}
        assert reassembly.held == 0


@pytest.mark.parametrize("unordered", [False, True])
def test_adjacent_unordered_messages_need_not_differ_in_their_ssn(unordered: bool) -> None:
    """Pitfall S21: senders put any SSN into unordered DATA; beginning and end tell them apart."""
    for order in itertools.permutations(range(6)):
        chunks = cut(10, parts(3, tag="a"), unordered=unordered)
        chunks += cut(13, parts(3, tag="b"), unordered=unordered)
        found = feed(DataReassembly(LIMIT), [chunks[i] for i in order])
        assert {message.data for message in found} == {b"<a0><a1><a2>", b"<b0><b1><b2>"}


def test_unordered_fragments_whose_ssns_differ_belong_together() -> None:
    """RFC 9260 6.6: the SSN of an unordered chunk "has no significance"."""
    chunks = cut(10, parts(3), unordered=True)
    for chunk, sequence in zip(chunks, (0, 77, 9), strict=True):
        chunk.sequence = sequence
    (message,) = feed(DataReassembly(LIMIT), chunks)
    assert message.data == b"<0><1><2>"


def test_i_data_fragments_need_not_have_adjacent_tsns() -> None:
    """RFC 8260 2.2.3: "MUST NOT make any assumption about the TSN assignments"."""
    one = cut(10, parts(3, tag="a"), stream=1)
    two = cut(20, parts(3, tag="b"), stream=2)
    for tsn, chunk in enumerate((one[2], two[0], two[2], one[1], one[0], two[1])):
        chunk.tsn = tsn
    found = feed(IDataReassembly(LIMIT), [one[2], two[0], two[2], one[1], one[0], two[1]])
    assert [message.data for message in found] == [b"<a0><a1><a2>", b"<b0><b1><b2>"]


def test_i_data_fragment_under_a_new_tsn_is_ignored() -> None:
    """Pitfall S35: a duplicate FSN; the first one stands, and its bytes are counted once."""
    reassembly = IDataReassembly(LIMIT)
    chunks = cut(10, [b"one", b"two", b"three"])
    assert feed(reassembly, chunks[:2]) == []
    held = reassembly.held
    again = data(77, b"XXXX", fsn=1, flags=0)
    assert reassembly.add(again) is None
    assert reassembly.held == held
    (message,) = feed(reassembly, chunks[2:])
    assert message.data == b"onetwothree"
    assert reassembly.held == 0


def test_duplicate_end_of_i_data_is_ignored() -> None:
    reassembly = IDataReassembly(LIMIT)
    end, again = data(5, b"z", fsn=2, flags=END), data(9, b"y", fsn=2, flags=END)
    assert feed(reassembly, [end, again]) == []
    first, middle = data(6, b"a", flags=BEGIN), data(8, b"b", fsn=1, flags=0)
    (message,) = feed(reassembly, [first, middle])
    assert message.data == b"abz"


# ------------------------------------------------------------------------- impossible fragments


@BOTH
def test_message_above_the_limit_is_refused_while_it_grows(kind: Kind) -> None:
    """What is never going to be accepted is not collected to its end."""
    reassembly = kind(10)
    chunks = cut(1, [b"abcd"] * 4)
    assert feed(reassembly, chunks[:2]) == []
    with pytest.raises(RemoteProtocolError):
        reassembly.add(chunks[2])


@BOTH
def test_message_of_exactly_the_limit_is_taken(kind: Kind) -> None:
    (message,) = feed(kind(10), cut(1, [b"abcde"] * 2))
    assert len(message.data) == 10


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(
            [data(1, fsn=3, flags=END), data(2, fsn=4, flags=END)], id="two ends, higher second"
        ),
        pytest.param(
            [data(1, fsn=3, flags=END), data(2, fsn=2, flags=END)], id="two ends, lower second"
        ),
        pytest.param([data(1, fsn=3, flags=END), data(2, fsn=4, flags=0)], id="behind its end"),
        pytest.param([data(1, fsn=4, flags=0), data(2, fsn=3, flags=END)], id="end before others"),
        pytest.param([data(1, fsn=0, flags=0)], id="first fragment without B"),
        pytest.param([data(1, fsn=0, flags=END)], id="first and last fragment without B"),
    ],
)
def test_i_data_fragments_that_contradict_each_other_are_refused(chunks: list[Data]) -> None:
    """RFC 8260 2.2.2: "The first fragment MUST have the B bit set", the last one E, no other."""
    with pytest.raises(RemoteProtocolError):
        feed(IDataReassembly(LIMIT), chunks)


def test_data_fragments_that_cannot_belong_together_do_not() -> None:
    """A beginning behind a beginning, an end behind an end, a fragment of another message."""
    reassembly = DataReassembly(LIMIT)
    odd = [
        data(1, flags=BEGIN),
        data(2, flags=BEGIN),
        data(3, flags=0, stream=1),
        data(4, flags=END),
        data(5, flags=END),
        data(6, flags=0, sequence=1),
        data(7, flags=END, sequence=2),
        data(8, flags=END | UNORDERED, sequence=2),
    ]
    assert feed(reassembly, odd) == []
    assert reassembly.held == len(odd) * (1 + FRAGMENT_OVERHEAD)
    reassembly.forward(8, [])
    assert reassembly.held == 0


# ------------------------------------------------------------------------------ given up


@ORDER
def test_forward_drops_what_misses_a_fragment_below_it(unordered: bool) -> None:
    """RFC 3758 3.6: "still missing one or more TSNs earlier than or equal to"."""
    proper_subsets = itertools.chain.from_iterable(
        itertools.combinations(range(4), n) for n in range(4)
    )
    for have in proper_subsets:
        reassembly = DataReassembly(LIMIT)
        chunks = cut(10, parts(4), unordered=unordered)
        feed(reassembly, [chunks[i] for i in have])
        reassembly.forward(13, [(0, False, 0)])
        assert reassembly.held == 0, have


def test_forward_leaves_what_is_above_it() -> None:
    """Pitfall S34: never live ones, also where they are of a stream that is listed."""
    reassembly = DataReassembly(LIMIT)
    lost, alive = cut(10, parts(3, tag="a"), sequence=0), cut(13, parts(3, tag="b"), sequence=1)
    feed(reassembly, [lost[0], lost[2], alive[0], alive[2]])
    reassembly.forward(12, [(0, False, 0)])
    assert reassembly.held == 2 * (4 + FRAGMENT_OVERHEAD)
    (message,) = feed(reassembly, alive[1:2])
    assert message.data == b"<b0><b1><b2>"
    assert reassembly.held == 0


def test_forward_into_a_message_that_is_whole_up_to_there_leaves_it() -> None:
    """A sender may run over what was acknowledged by gap blocks; the rest may still come."""
    reassembly = DataReassembly(LIMIT)
    chunks = cut(10, parts(4))
    feed(reassembly, chunks[:3])
    reassembly.forward(11, [])
    reassembly.forward(12, [])
    (message,) = feed(reassembly, chunks[3:])
    assert message.data == b"<0><1><2><3>"


def test_forward_drops_a_message_that_is_named_although_it_is_whole_up_to_there() -> None:
    """RFC 3758 3.6: its SSN is skipped, so the rest will not come; unordered ones have no SSN."""
    reassembly = DataReassembly(LIMIT)
    feed(reassembly, cut(10, parts(4), sequence=3)[:3])
    reassembly.forward(12, [(0, False, 2), (1, False, 9)])
    assert reassembly.held
    reassembly.forward(12, [(0, False, 3)])
    assert reassembly.held == 0
    feed(reassembly, cut(20, parts(4), sequence=3, unordered=True)[:3])
    reassembly.forward(22, [(0, False, 9)])
    assert reassembly.held


def test_forward_drops_a_tail_whose_beginning_it_skipped() -> None:
    """RFC 3758 3.6: its TSN 10 is skipped for ever, so 11 and 12 have nothing to wait for."""
    reassembly = DataReassembly(LIMIT)
    chunks = cut(10, parts(3))
    feed(reassembly, chunks[1:])
    reassembly.forward(10, [])
    assert reassembly.held == 0


@ORDER
def test_i_forward_drops_messages_up_to_the_one_named(unordered: bool) -> None:
    """RFC 8260 2.3.1: per stream and order."""
    reassembly = IDataReassembly(LIMIT)
    for mid in range(4):
        for order in (False, True):
            feed(reassembly, cut(10 * mid, parts(3), sequence=mid, unordered=order)[:2])
    each = reassembly.held // 8
    reassembly.forward(1000, [(0, unordered, 2)])
    assert reassembly.held == 5 * each
    reassembly.forward(1000, [(1, unordered, 9)])  # another stream
    assert reassembly.held == 5 * each
    (message,) = feed(reassembly, cut(30, parts(3), sequence=3, unordered=unordered)[2:])
    assert message.data == b"<0><1><2>"


def test_i_forward_of_unordered_messages_goes_by_serial_comparison() -> None:
    """RFC 8260 2.1: "serial number arithmetic ... using SERIAL_BITS = 32 applies"; pitfall S1."""
    reassembly = IDataReassembly(LIMIT)
    for mid in (2**32 - 2, 2**32 - 1, 0, 1):
        feed(reassembly, cut(10, parts(2), sequence=mid, unordered=True)[:1])
    each = reassembly.held // 4
    reassembly.forward(1000, [(0, True, 0)])
    assert reassembly.held == each
    (message,) = feed(reassembly, cut(10, parts(2), sequence=1, unordered=True)[1:])
    assert message.sequence == 1


@BOTH
def test_reset_of_one_stream_drops_its_fragments_only(kind: Kind) -> None:
    reassembly = kind(LIMIT)
    feed(reassembly, cut(10, parts(3), stream=1)[:2])
    feed(reassembly, cut(20, parts(3), stream=2)[:2])
    held = reassembly.held
    reassembly.drop_streams({1}, 40)
    assert reassembly.held == held // 2
    (message,) = feed(reassembly, cut(20, parts(3), stream=2)[2:])
    assert message.stream_id == 2
    assert reassembly.held == 0


@BOTH
def test_reset_of_all_streams_drops_everything(kind: Kind) -> None:
    reassembly = kind(LIMIT)
    for stream in range(5):
        feed(reassembly, cut(10 * stream, parts(3), stream=stream)[:2])
    reassembly.drop_streams(None, 100)
    assert reassembly.held == 0


# --------------------------------------------------------------------------------- the models

streams = st.integers(0, 2)
counts = st.integers(1, 5)


class DataAgainstNaive(RuleBasedStateMachine):
    """A sender's messages at consecutive TSNs, delivered in any order; TSNs skipped by forward.

    The model holds a chunk per TSN. A message is complete when all its TSNs are held; forward drops
    the maximal stretches of a message that miss a neighbour at or below the new TSN.
    """

    def __init__(self) -> None:
        super().__init__()
        self.real = DataReassembly(LIMIT)
        self.next_tsn = 2**32 - 9
        self.skipped = self.next_tsn - 1
        self.on_the_way: dict[int, Data] = {}
        self.messages: dict[int, list[Data]] = {}  # by any of their TSNs
        self.held: dict[int, Data] = {}

    @rule(stream=streams, unordered=st.booleans(), count=counts, sequence=st.integers(0, 2))
    def send(self, stream: int, unordered: bool, count: int, sequence: int) -> None:
        message = cut(
            self.next_tsn,
            parts(count, tag=str(self.next_tsn)),
            stream=stream,
            sequence=sequence,
            unordered=unordered,
        )
        for chunk in message:
            self.on_the_way[chunk.tsn] = chunk
            self.messages[chunk.tsn] = message
        self.next_tsn += count

    @precondition(lambda self: self.on_the_way)
    @rule(choice=st.integers(0, 10**6))
    def deliver(self, choice: int) -> None:
        tsn = sorted(self.on_the_way)[choice % len(self.on_the_way)]
        chunk = self.on_the_way.pop(tsn)
        self.held[tsn] = chunk
        message = self.messages[tsn]
        found = self.real.add(chunk)
        if all(other.tsn in self.held for other in message):
            assert found is not None
            assert found.data == b"".join(other.payload for other in message)
            assert found.stream_id == chunk.stream_id
            assert found.unordered == bool(chunk.flags & UNORDERED)
            charges = [len(other.payload) + FRAGMENT_OVERHEAD for other in message]
            assert found.charge == sum(charges)
            for other in message:
                del self.held[other.tsn]
        else:
            assert found is None

    @rule(ahead=st.integers(1, 12))
    def forward(self, ahead: int) -> None:
        tsn = min(self.skipped + ahead, self.next_tsn - 1)
        self.skipped = max(self.skipped, tsn)
        self.real.forward(tsn, [])
        for lost in [t for t in self.on_the_way if t <= tsn]:
            del self.on_the_way[lost]
        for message in {id(m): m for m in self.messages.values()}.values():
            for stretch in self._stretches(message):
                starts_late = stretch[0] != message[0].tsn and stretch[0] - 1 <= tsn
                ends_early = stretch[-1] != message[-1].tsn and stretch[-1] + 1 <= tsn
                if starts_late or ends_early:
                    for lost in stretch:
                        del self.held[lost]

    def _stretches(self, message: list[Data]) -> list[list[int]]:
        stretches: list[list[int]] = []
        for chunk in message:
            if chunk.tsn not in self.held:
                continue
            if stretches and stretches[-1][-1] == chunk.tsn - 1:
                stretches[-1].append(chunk.tsn)
            else:
                stretches.append([chunk.tsn])
        return stretches

    @rule(stream=st.none() | streams)
    def reset(self, stream: int | None) -> None:
        """Everything of the stream was given up or delivered before it is reset."""
        self.real.drop_streams(None if stream is None else {stream}, self.next_tsn - 1)
        for chunks in (self.held, self.on_the_way):
            for tsn in [t for t, c in chunks.items() if stream in (None, c.stream_id)]:
                del chunks[tsn]

    @invariant()
    def held_bytes_agree(self) -> None:
        charges = [len(chunk.payload) + FRAGMENT_OVERHEAD for chunk in self.held.values()]
        assert self.real.held == sum(charges)

    def teardown(self) -> None:
        """However it went: when all is skipped, nothing is held."""
        self.real.forward(self.next_tsn - 1, [])
        assert self.real.held == 0


TestDataAgainstNaive = DataAgainstNaive.TestCase
TestDataAgainstNaive.settings = settings(stateful_step_count=30)


class IDataAgainstNaive(RuleBasedStateMachine):
    """Messages by stream, order and MID; fragments come in any order, some of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.real = IDataReassembly(LIMIT)
        self.messages: dict[tuple[int, bool, int], list[Data]] = {}
        self.on_the_way: list[Data] = []
        self.arrived: dict[tuple[int, bool, int], dict[int, Data]] = {}
        self.next_mid = {(s, u): 2**32 - 2 for s in range(3) for u in (False, True)}
        self.tsn = 0

    @rule(stream=streams, unordered=st.booleans(), count=counts)
    def send(self, stream: int, unordered: bool, count: int) -> None:
        mid = self.next_mid[stream, unordered]
        self.next_mid[stream, unordered] += 1
        sequence = mid & 0xFFFF_FFFF if unordered else mid
        key = (stream, unordered, mid)
        message = cut(
            0, parts(count, tag=f"{key}"), stream=stream, sequence=sequence, unordered=unordered
        )
        self.messages[key] = message
        self.on_the_way += message

    def _key(self, chunk: Data) -> tuple[int, bool, int]:
        return next(key for key, message in self.messages.items() if chunk in message)

    @precondition(lambda self: self.on_the_way)
    @rule(choice=st.integers(0, 10**6), again=st.booleans())
    def deliver(self, choice: int, again: bool) -> None:
        i = choice % len(self.on_the_way)
        chunk = self.on_the_way[i]
        key = self._key(chunk)
        self.tsn += 1
        chunk.tsn = self.tsn
        arrived = self.arrived.setdefault(key, {})
        duplicate = chunk.fsn in arrived
        if not again:
            del self.on_the_way[i]
        arrived[chunk.fsn] = chunk
        found = self.real.add(chunk)
        message = self.messages[key]
        if len(arrived) == len(message) and not duplicate:
            assert found is not None
            assert found.data == b"".join(other.payload for other in message)
            assert (found.stream_id, found.unordered) == key[:2]
            assert found.ppid == 51
            del self.arrived[key]
            self.on_the_way = [c for c in self.on_the_way if c not in message]
        else:
            assert found is None

    @rule(stream=streams, unordered=st.booleans(), back=st.integers(1, 4))
    def forward(self, stream: int, unordered: bool, back: int) -> None:
        mid = self.next_mid[stream, unordered] - back
        wire = mid & 0xFFFF_FFFF if unordered else mid
        self.real.forward(self.tsn, [(stream, unordered, wire)])
        for key in list(self.messages):
            if key[:2] == (stream, unordered) and key[2] <= mid:
                self._forget(key)

    @rule(stream=st.none() | streams)
    def reset(self, stream: int | None) -> None:
        self.real.drop_streams(None if stream is None else {stream}, self.tsn)
        for key in list(self.messages):
            if stream in (None, key[0]):
                self._forget(key)

    def _forget(self, key: tuple[int, bool, int]) -> None:
        message = self.messages[key]
        self.on_the_way = [c for c in self.on_the_way if c not in message]
        self.arrived.pop(key, None)

    @invariant()
    def held_bytes_agree(self) -> None:
        charges = [
            len(chunk.payload) + FRAGMENT_OVERHEAD
            for arrived in self.arrived.values()
            for chunk in arrived.values()
        ]
        assert self.real.held == sum(charges)

    def teardown(self) -> None:
        self.real.drop_streams(None, self.tsn)
        assert self.real.held == 0


TestIDataAgainstNaive = IDataAgainstNaive.TestCase
TestIDataAgainstNaive.settings = settings(stateful_step_count=30)


@BOTH
@given(
    chunks=st.lists(
        st.tuples(streams, st.integers(0, 7), st.integers(0, 3), st.integers(0, 4)), max_size=30
    ),
    order=st.randoms(use_true_random=False),
)
def test_whatever_flags_a_peer_invents_held_bytes_return_to_zero(
    kind: Kind, chunks: list[tuple[int, int, int, int]], order: random.Random
) -> None:
    reassembly = kind(LIMIT)
    tsns = list(range(1, len(chunks) + 1))
    order.shuffle(tsns)
    for tsn, (stream, flags, sequence, fsn) in zip(tsns, chunks, strict=True):
        fragment = 0 if flags & BEGIN else fsn
        try:
            reassembly.add(data(tsn, stream=stream, flags=flags, sequence=sequence, fsn=fragment))
        except RemoteProtocolError:
            return
        assert reassembly.held <= len(chunks) * (1 + FRAGMENT_OVERHEAD)
    assert kind is IDataReassembly or reassembly.held >= 0
    reassembly.drop_streams(None, len(chunks))
    assert reassembly.held == 0


def test_whole_message_leaves_fragments_of_others_alone() -> None:
    reassembly = DataReassembly(LIMIT)
    chunks = cut(1, parts(3))
    feed(reassembly, chunks[:2])
    assert reassembly.add(data(3, flags=WHOLE)) is not None
    assert reassembly.held == 2 * (3 + FRAGMENT_OVERHEAD)
