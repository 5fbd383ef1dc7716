"""Data sets as they are distributed, one file each."""
