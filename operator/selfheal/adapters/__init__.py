"""Adapters: one port each; they never import each other."""
