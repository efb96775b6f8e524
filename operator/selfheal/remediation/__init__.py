"""Findings and manifests to edits and diffs: pure, byte-preserving."""
