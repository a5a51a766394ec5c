"""The shipped studies: what the source documents printed, and the commands that measure it again."""
