"""The checks that a fix must pass, and their evaluation: pure."""
