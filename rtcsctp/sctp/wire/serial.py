"""The only modular arithmetic of the library.

Numbers on the wire wrap at 32 bits (TSN, MID, re-configuration numbers) or 16 bits (SSN). Comparing
wrapped numbers by RFC 1982 is not transitive, so nothing inside compares them: each is unwrapped
once, where it enters, into the ordinary integer nearest to one that we know already, and wrapped
again where it leaves. RFC 9260 section 1.6.
"""

from __future__ import annotations

__all__ = ["MASK16", "MASK32", "unwrap16", "unwrap32"]

MASK16 = 0xFFFF
MASK32 = 0xFFFF_FFFF


def unwrap32(value: int, near: int) -> int:
    """The integer congruent to `value` modulo 2**32 that lies in [near - 2**31, near + 2**31)."""
    return near + ((value - near + 0x8000_0000) & MASK32) - 0x8000_0000


def unwrap16(value: int, near: int) -> int:
    """The integer congruent to `value` modulo 2**16 that lies in [near - 2**15, near + 2**15)."""
    return near + ((value - near + 0x8000) & MASK16) - 0x8000
