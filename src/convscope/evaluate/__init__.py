"""What a trained network is worth: losses, exact counts, predictions, runs as read from disk, the sealed test."""
