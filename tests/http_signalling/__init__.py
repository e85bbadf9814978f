"""Tests of `rtcsctp.http`. A folder named `http` would hide the package of the standard library."""
