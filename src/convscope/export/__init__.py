"""What is taken away from a run: files of predictions."""
