"""Tests of the receiving half, part by part."""
