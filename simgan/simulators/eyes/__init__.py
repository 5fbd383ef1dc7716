"""The simulator of eyes, and the look-alike of a webcam that photographs other persons' eyes."""
