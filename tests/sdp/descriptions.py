"""Descriptions in the manner of the stacks that we meet, for the tests of this folder."""

from __future__ import annotations

import random

from rtcsctp.dtls.fingerprint import Fingerprint
from rtcsctp.ice.candidate import Candidate
from rtcsctp.sdp.description import SessionDescription
from rtcsctp.sdp.model import DescriptionType
from rtcsctp.sdp.negotiation import LocalParameters, Negotiation

PRINT_A = str(Fingerprint.of(b"a certificate"))
PRINT_B = str(Fingerprint.of(b"another certificate"))


def text(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines)


HEAD = ("v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0")

TRANSPORT = (
    "a=ice-ufrag:fNv6",
    "a=ice-pwd:3dTAGkhJC4mGBcOOHEIiDz7s",
    f"a=fingerprint:{PRINT_A}",
    "a=setup:actpass",
)


CHROMIUM = text(
    *HEAD,
    "a=group:BUNDLE 0",
    "a=extmap-allow-mixed",
    "a=msid-semantic: WMS",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=candidate:2718739262 1 udp 2113937151 c1e72df3-d740-4cb7-ac54-8f71cb52fa9a.local 52978 typ "
    "host generation 0 network-cost 999",
    "a=candidate:842163049 1 udp 1677729535 203.0.113.9 52978 typ srflx raddr 0.0.0.0 rport 0 "
    "generation 0 network-cost 999",
    "a=candidate:1 1 tcp 1518149375 c1e72df3-d740-4cb7-ac54-8f71cb52fa9a.local 9 typ host tcptype "
    "active generation 0",
    "a=ice-ufrag:L49B",
    "a=ice-pwd:VSqkwgaXn5wiJLyan3xl3+NN",
    "a=ice-options:trickle",
    f"a=fingerprint:{PRINT_A}",
    "a=setup:actpass",
    "a=mid:0",
    "a=sctp-port:5000",
    "a=max-message-size:262144",
)

# The fingerprint at session level, UDP in capitals, sendrecv on data.
FIREFOX = text(
    "v=0",
    "o=mozilla...THIS_IS_SDPARTA-99.0 7012438517340912342 0 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    f"a=fingerprint:{PRINT_A}",
    "a=group:BUNDLE 0",
    "a=ice-options:trickle",
    "a=msid-semantic:WMS *",
    "m=application 40331 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 192.0.2.14",
    "a=candidate:0 1 UDP 2122252543 192.0.2.14 40331 typ host",
    "a=candidate:2 1 TCP 2105524479 192.0.2.14 9 typ host tcptype active",
    "a=sendrecv",
    "a=end-of-candidates",
    "a=ice-pwd:6f5e4d3c2b1a0f9e8d7c6b5a49382716",
    "a=ice-ufrag:1a2b3c4d",
    "a=mid:0",
    "a=setup:actpass",
    "a=sctp-port:5000",
    "a=max-message-size:1073741823",
)

# Three fingerprints, transport attributes at the end, all candidates at once.
AIORTC = text(
    "v=0",
    "o=- 4004326082 4004326082 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=msid-semantic:WMS *",
    "m=application 59307 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 192.0.2.2",
    "a=mid:0",
    "a=sctp-port:5000",
    "a=max-message-size:65536",
    "a=candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 192.0.2.2 59307 typ host",
    "a=candidate:d0bcf3d9c29a2bc887618212a1623bfa 1 udp 2130706431 2001:db8::2 38756 typ host",
    "a=end-of-candidates",
    "a=ice-ufrag:msSv",
    "a=ice-pwd:7jI21KeRlkxm5Y5RbumdiB",
    f"a=fingerprint:{PRINT_A}",
    f"a=fingerprint:{Fingerprint.of(b'a certificate', 'sha-384')}",
    f"a=fingerprint:{Fingerprint.of(b'a certificate', 'sha-512')}",
    "a=setup:actpass",
)

# The fingerprint at session level, sendrecv, no max-message-size, a large o= number.
PION = text(
    "v=0",
    "o=- 8245093107521684217 1764147000 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=msid-semantic:WMS*",
    f"a=fingerprint:{PRINT_A}",
    "a=extmap-allow-mixed",
    "a=group:BUNDLE 0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=setup:actpass",
    "a=mid:0",
    "a=sendrecv",
    "a=sctp-port:5000",
    "a=ice-ufrag:QkXyPzAbCdEfGhIj",
    "a=ice-pwd:aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeF",
    "a=candidate:233762139 1 udp 2130706431 198.51.100.4 47002 typ host ufrag QkXyPzAbCdEfGhIj",
    "a=candidate:233762139 2 udp 2130706431 198.51.100.4 47002 typ host ufrag QkXyPzAbCdEfGhIj",
    "a=end-of-candidates",
)

# A comma among the ice-options, a mid that is a word.
LIBDATACHANNEL = text(
    "v=0",
    "o=rtc 3767197920 0 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE data",
    "a=group:LS data",
    "a=msid-semantic:WMS *",
    "a=ice-options:ice2,trickle",
    f"a=fingerprint:{PRINT_A}",
    "m=application 46602 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 192.0.2.33",
    "a=mid:data",
    "a=sendrecv",
    "a=sctp-port:5000",
    "a=max-message-size:262144",
    "a=setup:actpass",
    "a=ice-ufrag:/xYz",
    "a=ice-pwd:Zk9m2vQ0cT7r4yN1pL8sWd",
    "a=candidate:1 1 UDP 2122317823 192.0.2.33 46602 typ host",
    "a=candidate:2 1 UDP 1686109951 203.0.113.50 46602 typ srflx raddr 0.0.0.0 rport 0",
)

# Before RFC 8841: the port in the m= line.
LEGACY = text(
    *HEAD,
    "m=application 9 DTLS/SCTP 5000",
    "c=IN IP4 0.0.0.0",
    *TRANSPORT,
    "a=mid:data",
    "a=sctpmap:5000 webrtc-datachannel 1024",
)

STACKS = {
    "chromium": CHROMIUM,
    "firefox": FIREFOX,
    "aiortc": AIORTC,
    "pion": PION,
    "libdatachannel": LIBDATACHANNEL,
    "legacy": LEGACY,
}


def media(kind: str, mid: str, *more: str) -> tuple[str, ...]:
    """An audio or video section as browsers offer it."""
    return (
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        *more,
    )


def data(mid: str | None = "0", *more: str, port: int = 9) -> tuple[str, ...]:
    return (
        f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        *(() if mid is None else (f"a=mid:{mid}",)),
        "a=sctp-port:5000",
        *more,
    )


def offer(sdp: str) -> SessionDescription:
    return SessionDescription(DescriptionType.OFFER, sdp)


def answer(sdp: str) -> SessionDescription:
    return SessionDescription(DescriptionType.ANSWER, sdp)


def local(
    name: str = "alice", *, generation: int = 0, certificate: bytes | None = None, **more: object
) -> LocalParameters:
    """Parameters of one side; another generation has other credentials."""
    values: dict[str, object] = {
        "ufrag": f"{name}{generation}",
        "pwd": f"{name}{generation}".ljust(24, "x"),
        "fingerprints": (Fingerprint.of(certificate or name.encode()),),
    }
    values |= more
    return LocalParameters(**values)  # type: ignore[arg-type]


def candidate(sdp: str) -> Candidate:
    return Candidate.parse_untrusted(sdp)


def negotiation(seed: int = 1, *, polite: bool | None = None) -> Negotiation:
    return Negotiation(rng=random.Random(seed), polite=polite)
