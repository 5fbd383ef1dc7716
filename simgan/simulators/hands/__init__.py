"""The simulator of hands, and the look-alike of a depth camera that sees other persons' hands."""
