"""The kopf side of the operator: registration, lifecycle, and the events that wake a key."""
