"""Intake: tickets, alerts and the detector create incidents or wake them; nothing else."""
