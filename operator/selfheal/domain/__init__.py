"""The pure core: phases, facts, decisions and the state machine. No I/O, no clock."""
