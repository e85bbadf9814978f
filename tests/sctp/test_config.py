"""Every number that steers an association: default, limits, and its name on a command line."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import ConfigError, LocalProtocolError
from rtcsctp.sctp.config import CONTROLLERS, SCHEDULERS, Config

# Field: the smallest value that is refused and the next that is taken, and the same at the other
# end. None where there is no limit.
LIMITS: dict[str, tuple[Any, Any, Any, Any]] = {
    "rto_initial": (0.0, 0.001, 60.0, 60.1),
    "rto_min": (0.0, 0.001, 60.0, 60.1),
    "rto_max": (0.0, 0.25, 600.0, 600.1),  # from rto_min
    "rto_alpha": (0.0, 0.001, 1.0, 1.1),
    "rto_beta": (0.0, 0.001, 1.0, 1.1),
    "backoff_max": (0.0, 0.001, 600.0, 600.1),
    "max_retransmits": (-1, 0, 10**6, None),
    "path_max_retransmits": (-1, 0, 10**6, None),
    "max_init_retransmits": (-1, 0, 10**6, None),
    "valid_cookie_life": (0.0, 0.1, 3600.0, 3601.0),
    "max_burst": (0, 1, 10**6, None),
    "initial_cwnd": (0, 1, 1000, 1001),
    "slow_start_limit": (0, 1, 1000, 1001),
    "mtu": (511, 512, 65_532, 65_533),
    "max_mtu": (511, 512, 65_532, 65_533),
    "send_buffer": (0, 1, 1 << 40, None),
    "peer_max_message_size": (0, 1, 1 << 40, None),
    "rwnd": (1499, 1500, 1 << 31, (1 << 31) + 1),
    "rwnd_max": (1499, 1500, 1 << 31, (1 << 31) + 1),
    "max_message_size": (0, 1, 1 << 31, (1 << 31) + 1),
    "sack_delay": (-0.1, 0.0, 0.5, 0.51),  # RFC 9260 6.2: "MUST NOT … more than 500 ms"
    "sack_frequency": (0, 1, 1000, 1001),
    "heartbeat_interval": (-1.0, 0.0, 1e6, None),
    "hb_max_burst": (0, 1, 10**6, None),
    "outbound_streams": (0, 1, 65_535, 65_536),
    "inbound_streams": (0, 1, 65_535, 65_536),
    "max_streams": (0, 1, 65_535, 65_536),
}
FLAGS = (
    "path_mtu_discovery",
    "interleaving",
    "partial_reliability",
    "reconfiguration",
    "zero_checksum",
)
WHOLE = [name for name, limits in LIMITS.items() if isinstance(limits[1], int)]


def with_field(name: str, value: object) -> Config:
    return Config(**{name: value})  # type: ignore[arg-type]  # wrong types are the matter here


def test_every_field_has_its_limits_here() -> None:
    assert sorted(Config.names()) == sorted([*LIMITS, *FLAGS, "congestion_control", "scheduler"])


def test_defaults_are_those_of_webrtc_stacks() -> None:
    """RFC 9260 chapter 16, where WebRTC has no reason to differ."""
    config = Config()
    assert config.mtu == 1200
    assert config.rto_initial <= 0.5
    assert 0.2 <= config.rto_min <= 0.4
    assert config.rto_min > config.sack_delay  # a SACK that is held back is no loss
    assert (config.rto_max, config.rto_alpha, config.rto_beta) == (60.0, 1 / 8, 1 / 4)
    assert (config.max_burst, config.sack_delay, config.heartbeat_interval) == (4, 0.2, 30.0)
    assert (config.max_retransmits, config.path_max_retransmits) == (10, 5)
    assert (config.max_init_retransmits, config.valid_cookie_life) == (8, 60.0)
    assert config.max_message_size == 262_144
    assert not config.zero_checksum


@pytest.mark.parametrize("name", LIMITS)
def test_field_takes_what_is_within_its_limits(name: str) -> None:
    _, lowest, highest, _ = LIMITS[name]
    for value in (lowest, highest):
        assert getattr(with_field(name, value), name) == value


@pytest.mark.parametrize("name", LIMITS)
def test_field_refuses_what_is_beyond_its_limits_and_is_named(name: str) -> None:
    below, _, _, above = LIMITS[name]
    for value in (below, above, math.nan, "7", [1], True):
        if value is None:
            continue
        with pytest.raises(ConfigError, match=name):
            with_field(name, value)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_whole(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number"):
        with_field(name, LIMITS[name][1] + 1.5)


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_booleans(name: str) -> None:
    for value in (True, False):
        assert getattr(with_field(name, value), name) is value
    for wrong in (0, 1, "true", None):
        with pytest.raises(ConfigError, match=name):
            with_field(name, wrong)


def test_none_is_for_the_optional_field_only() -> None:
    assert Config(peer_max_message_size=None).peer_max_message_size is None
    for name in (*LIMITS, "scheduler"):
        if name != "peer_max_message_size":
            with pytest.raises(ConfigError, match=name):
                with_field(name, None)


def test_scheduler_is_one_of_those_that_exist() -> None:
    for name in SCHEDULERS:
        assert Config(scheduler=name).scheduler == name
    for wrong in ("", "FCFS", "fastest", 3):
        with pytest.raises(ConfigError, match=r"scheduler .*weighted_fair"):
            with_field("scheduler", wrong)


def test_congestion_control_is_one_of_those_that_exist() -> None:
    for name in CONTROLLERS:
        assert Config(congestion_control=name).congestion_control == name
        settings = {"congestion_control": f" {name.upper()}"}
        assert Config.from_strings(settings).congestion_control == name
    for wrong in ("", "RFC9260", "reno", 3):
        with pytest.raises(ConfigError, match=r"congestion_control .*rfc9260"):
            with_field("congestion_control", wrong)


def test_smallest_timeout_is_not_above_the_largest() -> None:
    Config(rto_min=2.0, rto_max=2.0)
    with pytest.raises(ConfigError, match=r"rto_min .*rto_max"):
        Config(rto_min=2.0, rto_max=1.0)


@pytest.mark.parametrize(("given_mtu", "used"), [(1200, 1200), (1201, 1200), (1203, 1200)])
def test_packets_are_whole_words(given_mtu: int, used: int) -> None:
    """Pitfall S60."""
    assert Config(mtu=given_mtu).mtu == used


def test_configuration_cannot_be_changed_but_evolved() -> None:
    config = Config()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.mtu = 600  # type: ignore[misc]
    assert attrs.evolve(config, mtu=600).mtu == 600
    with pytest.raises(ConfigError):
        attrs.evolve(config, mtu=1)


def test_error_is_one_that_callers_may_expect() -> None:
    assert issubclass(ConfigError, LocalProtocolError)
    assert issubclass(ConfigError, ValueError)


# ---------------------------------------------------------------------------- from words


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("rto_min", "0.2", 0.2),
        ("rto_min", " 1 ", 1.0),
        ("max_retransmits", "4", 4),
        ("rwnd", "65536", 65_536),
        ("rwnd", "0x10000", 65_536),
        ("rwnd", "1_000_000", 1_000_000),
        ("interleaving", "true", True),
        ("interleaving", "Yes", True),
        ("interleaving", "on", True),
        ("interleaving", "1", True),
        ("interleaving", "FALSE", False),
        ("interleaving", "no", False),
        ("interleaving", "off", False),
        ("interleaving", "0", False),
        ("scheduler", "fcfs", "fcfs"),
        ("peer_max_message_size", "none", None),
        ("peer_max_message_size", "65536", 65_536),
    ],
)
def test_words_become_values(name: str, word: str, value: object) -> None:
    found = getattr(Config.from_strings({name: word}), name)
    assert found == value
    assert type(found) is type(value)


def test_no_words_give_the_defaults() -> None:
    assert Config.from_strings({}) == Config()


def test_unknown_name_is_refused_with_all_that_exist() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_strings({"rto_minimum": "1"})
    text = str(caught.value)
    assert "rto_minimum" in text
    for name in Config.names():
        assert name in text


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("rto_min", "fast"),
        ("rto_min", ""),
        ("rto_min", "nan"),
        ("rto_min", "inf"),
        ("rto_min", "-1"),
        ("rto_min", "none"),
        ("max_retransmits", "1.5"),
        ("max_retransmits", "1e3"),
        ("max_retransmits", "many"),
        ("max_retransmits", "-1"),
        ("max_retransmits", "9" * 5000),
        ("interleaving", "maybe"),
        ("interleaving", "2"),
        ("scheduler", "best"),
        ("peer_max_message_size", "0"),
        ("peer_max_message_size", "big"),
    ],
)
def test_word_that_does_not_fit_is_refused_and_its_field_named(name: str, word: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_strings({name: word})


@given(st.dictionaries(st.sampled_from(Config.names()), st.text(max_size=8), max_size=3))
def test_arbitrary_words_give_a_configuration_or_a_config_error(words: dict[str, str]) -> None:
    try:
        config = Config.from_strings(words)
    except ConfigError:
        return
    assert isinstance(config, Config)


@pytest.mark.parametrize("name", [*LIMITS, *FLAGS, "congestion_control", "scheduler"])
def test_every_default_can_be_written_as_a_word(name: str) -> None:
    word = str(getattr(Config(), name))
    assert Config.from_strings({name: word}) == Config()
