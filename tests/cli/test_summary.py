"""Statistics as a table."""

from __future__ import annotations

import random
from typing import Any

import attrs

from rtcsctp.cli.summary import statistics_table
from rtcsctp.sctp.association import Association
from rtcsctp.sctp.config import Config
from rtcsctp.sctp.statistics import Drop, Statistics


def statistics(**changes: Any) -> Statistics:
    association = Association(Config(), local_port=1, remote_port=2, rng=random.Random(0))
    return attrs.evolve(association.statistics(), **changes)


def test_columns_are_aligned() -> None:
    one = statistics(
        user_bytes_sent=32_000_000,
        packets_sent=27_403,
        smoothed_round_trip_time=0.00042,
        ssthresh=None,
    )
    two = statistics(
        user_bytes_sent=0, packets_sent=9, smoothed_round_trip_time=0.0004, ssthresh=12_000
    )
    lines = statistics_table({"sender": one, "receiver": two}).splitlines()
    assert lines[0].split() == ["sender", "receiver"]
    ends = {len(line) for line in lines}
    assert len(ends) == 1, "the last column is aligned to the right"
    by_label = {line[:25].strip(): line[25:].split() for line in lines}
    assert by_label["packets sent"] == ["27,403", "9"]
    assert by_label["user data sent"] == ["32.0", "MB", "0", "B"]
    assert by_label["round-trip time"] == ["0.42", "ms", "0.40", "ms"]


def test_what_nobody_has_is_left_out() -> None:
    table = statistics_table({"": statistics(smoothed_round_trip_time=None, ssthresh=None)})
    assert "round-trip time" not in table
    assert "slow-start threshold" not in table
    assert "dropped" not in table


def test_drops_are_listed_by_reason() -> None:
    one = statistics(drops={Drop.CHECKSUM: 3})
    two = statistics(drops={Drop.OLD_SACK: 1234})
    lines = statistics_table({"one": one, "two": two}).splitlines()
    assert [line.split() for line in lines if "dropped" in line] == [
        ["dropped:", "wrong", "checksum", "3", "0"],
        ["dropped:", "SACK", "older", "than", "the", "last", "one", "0", "1,234"],
    ]


def test_every_field_of_the_traffic_is_shown() -> None:
    """A field that is counted later on must not be forgotten here."""
    hidden = {
        "timestamp",
        "state",
        "flight",
        "unacknowledged",
        "unack_data",
        "in_fast_recovery",
        "path_errors",
        "path_is_active",
        "path_mtu_state",
        "receiver_window",
        "own_window",
        "buffered_amount",
        "held",
        "unread_messages",
        "checksum_errors",  # one of the drops
        "drops",
        "outbound_streams",
        "inbound_streams",
    }
    base = statistics(smoothed_round_trip_time=0.001)
    table = statistics_table({"": base})
    for field in attrs.fields(Statistics):
        if field.name in hidden or field.name == "smoothed_round_trip_time":
            continue
        value = getattr(base, field.name)
        other: object = f"not {value}"
        if not isinstance(value, str):
            other = not value if isinstance(value, bool) else (value or 0) + 77_777
        changed = statistics(smoothed_round_trip_time=0.001, **{field.name: other})
        assert statistics_table({"": changed}) != table, field.name
