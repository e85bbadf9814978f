"""Tests of the core: packets in, packets and events out."""
