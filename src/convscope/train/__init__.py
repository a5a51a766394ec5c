"""From a configuration to a finished run: the loop, what hooks into it, checkpoints, the record."""
