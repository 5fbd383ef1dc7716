"""The eye simulator and its look-alike camera."""
