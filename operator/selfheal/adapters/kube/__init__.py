"""Kubernetes: our own kinds, evidence, rollouts and dry runs, by the official asyncio client."""
