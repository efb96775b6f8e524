"""The project's local Kubernetes cluster: `python3 -m hack.cluster --help`, run from the clone's root.

Standard library only: it runs before any virtual environment exists.
"""
