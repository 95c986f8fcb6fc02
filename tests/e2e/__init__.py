"""End to end: real processes and a real circusd; tests wait on a line or a state, with a deadline."""
