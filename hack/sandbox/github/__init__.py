"""The sandbox GitHub: `emulate` behind a strict proxy that adds what it lacks."""
