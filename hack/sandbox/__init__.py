"""Counterpart servers for demos and tests."""
