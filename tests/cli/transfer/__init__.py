"""Tests of `rtcsctp send` and `rtcsctp receive`."""
