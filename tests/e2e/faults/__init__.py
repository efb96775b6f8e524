"""Real faults for the real cluster: what they are (folders), how they are run and judged (modules)."""
