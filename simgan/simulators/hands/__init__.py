"""The hand simulator and its look-alike depth camera."""
