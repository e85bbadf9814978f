"""STUN messages: the test vectors of RFC 5769 and RFC 8489 B.1, and what breaks them."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcsctp.errors import DecodeError
from rtcsctp.ice.candidate import Address
from rtcsctp.ice.stun import (
    MAX_ATTRIBUTES,
    Attribute,
    Method,
    PasswordAlgorithm,
    StunClass,
    build,
    encode_address,
    encode_error,
    encode_uint32,
    encode_uint64,
    encode_unknown_attributes,
    encode_xor_address,
    is_stun,
    long_term_key,
    new_transaction_id,
    parse_untrusted,
    short_term_key,
)
from rtcsctp.ice.stun_keys import PreparedKey, hmac_sha1

# RFC 5769 section 2: software, priority, controlled, username, integrity, fingerprint.
ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
# RFC 5769 2.4 and RFC 8489 B.1.
USERNAME = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def sha256_vector() -> bytes:
    """RFC 8489 B.1, line by line as it stands there."""
    return bytes.fromhex(
        "0001009c 2112a442 78ad3433 c6ad72c0 29da412e"
        "001e0020 4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 05c46e41 407f1704"
        "00150029 6f624d61 744a6f73 32414141 43662f2f 3439396b 39353464 364f4c33 346f4c39"
        "         46535476 79363473 41000000"
        "0014000b 6578616d 706c652e 6f726700"
        "001c0020 e4686c8f 0edeb590 13e07090 010a93ef ccbccc54 4c0a45d9 f830aa6d 6f735a01"
    )


# ------------------------------------------------------------------------------------- vectors


def test_request_of_rfc_5769() -> None:
    message = parse_untrusted(REQUEST)
    assert (message.method, message.message_class) == (Method.BINDING, StunClass.REQUEST)
    assert message.transaction_id == ID
    assert message.software == "STUN test client"
    assert message.priority == 0x6E0001FF
    assert message.ice_controlled == 0x932FF9B151263B36
    assert message.ice_controlling is None
    assert message.username == "evtj:h6vY"
    assert not message.use_candidate
    assert message.has_integrity
    assert message.has_fingerprint
    assert message.check_integrity(short_term_key(PASSWORD))
    assert not message.check_integrity(short_term_key(PASSWORD + "x"))
    assert message.raw == REQUEST
    assert message.unknown_required == []


def test_responses_of_rfc_5769() -> None:
    for raw, address in (
        (RESPONSE_IPV4, ("192.0.2.1", 32853)),
        (RESPONSE_IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ):
        message = parse_untrusted(raw)
        assert message.message_class is StunClass.SUCCESS
        assert message.software == "test vector"
        assert message.xor_mapped_address == address
        assert message.check_integrity(short_term_key(PASSWORD))


def test_long_term_request_of_rfc_5769() -> None:
    message = parse_untrusted(LONG_TERM)
    assert message.username == USERNAME
    assert message.realm == "example.org"
    assert message.nonce == b"f//499k954d6OL34oL9FSTvy64sA"
    assert not message.has_fingerprint
    assert message.check_integrity(long_term_key(USERNAME, "example.org", "TheMatrIX"))


def test_sha256_request_of_rfc_8489() -> None:
    # Its length field is wrong, for it counts the header too, and so its integrity is. With that
    # length its key and its user hash come out as printed; and with the right one it is ours.
    printed = sha256_vector()
    key = long_term_key(USERNAME, "example.org", "TheMatrIX", PasswordAlgorithm.SHA256)
    assert hmac.digest(key, printed[:-36], "sha256") == printed[-32:]
    with pytest.raises(DecodeError):
        parse_untrusted(printed)

    corrected = printed[:2] + (len(printed) - 20).to_bytes(2, "big") + printed[4:-36]
    corrected += b"\0\x1c\0\x20" + hmac.digest(key, corrected, "sha256")
    message = parse_untrusted(corrected)
    assert message.has_integrity
    assert message.check_integrity(key)
    assert not message.check_integrity(key + b"x")
    userhash = hashlib.sha256(f"{USERNAME}:example.org".encode()).digest()
    assert message.get(Attribute.USERHASH) == userhash
    again = build(
        1, 0, message.transaction_id, message.attributes, key=key, sha256=True, fingerprint=False
    )
    assert again == corrected


@pytest.mark.parametrize("size", [1, 22, 63, 64, 65, 256])
def test_a_prepared_key_is_the_same_key(size: int) -> None:
    key = bytes(range(size))
    prepared = PreparedKey(key)
    assert prepared == key
    assert hash(prepared) == hash(key)
    for data in (b"", b"a message", bytes(1000)):
        code = hmac.digest(key, data, "sha1")
        assert hmac_sha1(prepared, data) == hmac_sha1(prepared, data) == code
        assert hmac_sha1(key, data) == code
    for sha256 in (False, True):
        message = build(1, 0, bytes(12), [], key=prepared, sha256=sha256)
        assert message == build(1, 0, bytes(12), [], key=key, sha256=sha256)
        assert parse_untrusted(message).check_integrity(prepared)
        assert not parse_untrusted(message).check_integrity(PreparedKey(key + b"x"))


def test_key_of_the_example_in_rfc_8489_section_9_2_2() -> None:
    key = bytes.fromhex("8493fbc53ba582fb4c044c456bdc40eb")
    assert long_term_key("user", "realm", "pass") == key
    assert long_term_key('"user"', '"realm"\0', "pass\0") == key
    assert long_term_key("user", "realm", "pass", PasswordAlgorithm.SHA256) == (
        hashlib.sha256(b"user:realm:pass").digest()
    )
    composed, decomposed = "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"
    assert short_term_key(decomposed + "\N{NO-BREAK SPACE}") == (composed + " ").encode()


# ------------------------------------------------------------------------------------ building


def independent(kind: int, attributes: bytes, key: bytes) -> bytes:
    """A message with integrity and fingerprint, put together in another way."""
    header = struct.pack(">HHI", kind, len(attributes) + 24, 0x2112A442) + ID
    code = hmac.new(key, header + attributes, hashlib.sha1).digest()
    header = struct.pack(">HHI", kind, len(attributes) + 32, 0x2112A442) + ID
    message = header + attributes + b"\0\x08\0\x14" + code
    return message + b"\x80\x28\0\x04" + struct.pack(">I", zlib.crc32(message) ^ 0x5354554E)


def test_building_agrees_with_an_independent_computation() -> None:
    attributes = [(int(Attribute.USERNAME), b"abcd:e"), (int(Attribute.USE_CANDIDATE), b"")]
    encoded = b"\0\x06\0\x06abcd:e\0\0\0\x25\0\0"
    assert build(1, 0, ID, attributes, key=b"k") == independent(0x0001, encoded, b"k")
    assert build(1, 3, ID, attributes, key=b"k") == independent(0x0111, encoded, b"k")
    assert build(Method.CHANNEL_BIND, 2, ID, attributes, key=b"k") == (
        independent(0x0109, encoded, b"k")
    )
    plain = build(1, 1, ID, attributes, fingerprint=False)
    assert plain == struct.pack(">HHI", 0x0011, 16, 0x2112A442) + ID + encoded


@given(st.integers(0, 0xFFF), st.sampled_from(StunClass))
def test_method_and_class_come_back(method: int, message_class: StunClass) -> None:
    message = parse_untrusted(build(method, message_class, ID))
    assert (message.method, message.message_class) == (method, message_class)


@pytest.mark.parametrize("address", [("192.0.2.1", 1), ("2001:db8::1", 65535), ("0.0.0.0", 0)])
def test_addresses_come_back(address: Address) -> None:
    kinds = Attribute.XOR_RELAYED_ADDRESS, Attribute.XOR_PEER_ADDRESS
    attributes: list[tuple[int, bytes]] = [(k, encode_xor_address(address, ID)) for k in kinds]
    attributes += [
        (Attribute.MAPPED_ADDRESS, encode_address(address)),
        (Attribute.ALTERNATE_SERVER, encode_address(address)),
    ]
    message = parse_untrusted(build(Method.ALLOCATE, StunClass.SUCCESS, ID, attributes))
    assert message.xor_relayed_address == address
    assert message.xor_peer_address == address
    assert message.xor_peer_addresses == [address]
    assert message.xor_mapped_address == address  # of a server of RFC 3489
    assert message.alternate_server == address


def test_other_attributes_come_back() -> None:
    attributes: list[tuple[int, bytes]] = [
        (Attribute.ICE_CONTROLLING, encode_uint64(2**64 - 1)),
        (Attribute.PRIORITY, encode_uint32(7)),
        (Attribute.USE_CANDIDATE, b""),
        (Attribute.LIFETIME, encode_uint32(600)),
        (Attribute.CHANNEL_NUMBER, encode_uint32(0x4001FFFF)),
        (Attribute.DATA, b""),
        (Attribute.ERROR_CODE, encode_error(487, "Role Conflict")),
        (Attribute.UNKNOWN_ATTRIBUTES, encode_unknown_attributes([1, 0x7FFF])),
        (Attribute.PASSWORD_ALGORITHMS, b"\0\2\0\1x\0\0\0\0\1\0\0"),
        (0x7ABC, b"?"),
        (0xFABC, b"?"),
    ]
    message = parse_untrusted(build(1, 3, ID, attributes))
    assert message.ice_controlling == 2**64 - 1
    assert message.priority == 7
    assert message.use_candidate
    assert message.lifetime == 600
    assert message.channel_number == 0x4001
    assert message.data == b""
    assert message.error == (487, "Role Conflict")
    assert message.get(Attribute.UNKNOWN_ATTRIBUTES) == b"\0\1\x7f\xff"
    assert message.password_algorithms == [2, 1]
    assert message.unknown_required == [0x7ABC]
    assert "USE_CANDIDATE" in repr(message)


def test_the_first_of_several_attributes_counts() -> None:
    twice: list[tuple[int, bytes]] = [(Attribute.USERNAME, b"a"), (Attribute.USERNAME, b"b")]
    assert parse_untrusted(build(1, 0, ID, twice)).username == "a"


def test_transaction_ids_are_random() -> None:
    rng = random.Random(1)
    found = {new_transaction_id(rng) for _ in range(100)}
    assert len(found) == 100
    assert {len(one) for one in found} == {12}


# ------------------------------------------------------------------------------------- hostile


def test_damaged_attributes_are_as_good_as_absent() -> None:
    kinds = [k for k in Attribute if k not in {
        Attribute.MESSAGE_INTEGRITY, Attribute.MESSAGE_INTEGRITY_SHA256, Attribute.FINGERPRINT,
        Attribute.USE_CANDIDATE, Attribute.DATA, Attribute.NONCE, Attribute.SOFTWARE,
    }]  # fmt: skip
    message = parse_untrusted(build(1, 0, ID, [(kind, b"\xff\xfe\xfd") for kind in kinds]))
    absent: list[object] = [
        message.username,
        message.priority,
        message.ice_controlled,
        message.ice_controlling,
        message.error,
        message.xor_mapped_address,
        message.xor_relayed_address,
        message.xor_peer_address,
        message.lifetime,
        message.realm,
        message.channel_number,
        message.alternate_server,
    ]
    assert absent == [None] * len(absent)
    assert message.xor_peer_addresses == []
    assert message.password_algorithms == []
    for value in (b"\0\0\7\0x", b"\0\0\2\0", b"\0\0\4\x64"):  # not 300 to 699
        assert parse_untrusted(build(1, 3, ID, [(Attribute.ERROR_CODE, value)])).error is None
    for value in (b"\0\3\0\1abcd", b"\0\1\0\1abcde", b"\0\2\0\1abcd"):  # families and sizes
        message = parse_untrusted(build(1, 2, ID, [(Attribute.XOR_MAPPED_ADDRESS, value)]))
        assert message.xor_mapped_address is None


def test_texts_for_people_have_no_control_characters_and_an_end() -> None:
    value = b"\0\0\4\1" + b"no\r\n\x1b[31m" + b"x" * 600 + b"\0\0"
    message = parse_untrusted(build(1, 3, ID, [(Attribute.ERROR_CODE, value)]))
    assert message.error is not None
    code, reason = message.error
    assert code == 401
    assert reason.isprintable()
    assert len(reason) == 128


def test_what_follows_the_integrity_is_ignored() -> None:  # pitfall W14
    # RFC 8489 14.5: "agents MUST ignore all other attributes that follow MESSAGE-INTEGRITY".
    signed = build(1, 0, ID, [(Attribute.USERNAME, b"a:b")], key=b"k", fingerprint=False)
    appended = signed + b"\0\x25\0\0"  # USE-CANDIDATE
    forged = appended[:2] + (len(appended) - 20).to_bytes(2, "big") + appended[4:]
    message = parse_untrusted(forged)
    assert message.check_integrity(b"k")
    assert not message.use_candidate
    assert message.attributes == [(Attribute.USERNAME, b"a:b")]


def test_integrity_covers_every_byte_before_it() -> None:  # pitfall W14
    signed = build(1, 0, ID, [(Attribute.USERNAME, b"a:b"), (0x8000, b"x")], key=b"k",
                   fingerprint=False)  # fmt: skip
    assert parse_untrusted(signed).check_integrity(b"k")
    for position in range(len(signed)):
        for bit in (0x01, 0x80):
            forged = bytearray(signed)
            forged[position] ^= bit
            try:
                message = parse_untrusted(bytes(forged))
            except DecodeError:
                continue
            assert not message.check_integrity(b"k"), position


def test_without_integrity_no_key_is_right() -> None:
    message = parse_untrusted(build(1, 0, ID))
    assert not message.has_integrity
    assert not message.check_integrity(b"")


def test_of_two_integrity_attributes_the_stronger_decides() -> None:
    weak = build(1, 0, ID, key=b"weak", fingerprint=False)
    length = (len(weak) - 20 + 36).to_bytes(2, "big")
    covered = weak[:2] + length + weak[4:]
    both = covered + b"\0\x1c\0\x20" + hmac.digest(b"strong", covered, "sha256")
    message = parse_untrusted(both)
    assert message.check_integrity(b"strong")
    assert not message.check_integrity(b"weak")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:19],
        REQUEST[:-4],
        REQUEST + b"\0\0\0\0",
        b"\x40" + REQUEST[1:],  # the two first bits
        REQUEST[:4] + b"\x21\x12\xa4\x43" + REQUEST[8:],  # another cookie
        REQUEST[:-1] + b"\xce",  # fingerprint
        build(1, 0, ID, [(Attribute.FINGERPRINT, b"abcd")]),  # not at the end
        build(1, 0, ID, [(Attribute.MESSAGE_INTEGRITY, b"short")]),
        build(1, 0, ID, [(Attribute.MESSAGE_INTEGRITY_SHA256, b"x" * 16)]),  # truncated
        build(1, 0, ID, [(Attribute.FINGERPRINT, b"abc")], fingerprint=False),
        build(1, 0, ID, [(0x8000, b"")] * MAX_ATTRIBUTES),
        build(1, 0, ID, fingerprint=False)[:3] + b"\x04" + b"\x21\x12\xa4\x42" + ID + b"\0\6\0\1",
        build(1, 0, ID, fingerprint=False)[:3] + b"\x02" + b"\x21\x12\xa4\x42" + ID + b"\0\6",
    ],
)
def test_what_is_no_stun_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_untrusted(data)


def test_demultiplexing_looks_at_first_byte_and_cookie() -> None:  # pitfall W13
    assert is_stun(REQUEST)
    assert is_stun(build(1, 0, ID, fingerprint=False))
    for data in (b"", b"\0", REQUEST[:19], b"\x16" + REQUEST[1:], b"\0" * 20):
        assert not is_stun(data)


@pytest.mark.fuzz
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_parsed_or_refused(data: bytes, has_header: bool) -> None:
    if has_header:
        data = data[: len(data) & ~3]
        data = struct.pack(">HHI", 0x0101, len(data), 0x2112A442) + ID + data
    read_everything(data)


@pytest.mark.fuzz
@given(st.integers(0, len(REQUEST) - 1), st.integers(0, 255), st.sampled_from([0, 1, 2, 3]))
def test_changed_vectors_are_parsed_or_refused(at: int, value: int, which: int) -> None:
    data = bytearray((REQUEST, RESPONSE_IPV4, RESPONSE_IPV6, sha256_vector())[which])
    data[at % len(data)] = value
    read_everything(bytes(data))


def read_everything(data: bytes) -> None:
    try:
        message = parse_untrusted(data)
    except DecodeError:
        return
    for name in dir(type(message)):
        if isinstance(getattr(type(message), name), property):
            getattr(message, name)
    message.check_integrity(b"key")
    repr(message)
