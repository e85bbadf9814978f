"""Tests of the sending half, part by part."""
