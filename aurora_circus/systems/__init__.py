"""Five reference systems, on the standard library alone, so that a newcomer sees the fleet alive."""
