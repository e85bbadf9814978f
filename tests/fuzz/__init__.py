"""Fuzz targets, a bounded run of them for every test session, and an entry for atheris."""
