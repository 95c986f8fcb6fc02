"""What circusd runs: the Aurora plugin, imported as ``aurora_circus.plugins`` wherever it lies."""
