"""The command: one file per verb; the only part that prints."""
