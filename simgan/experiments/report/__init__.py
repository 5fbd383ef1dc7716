"""Reports of what was trained and measured, and the reproduction of all of it; on top of cards and evaluation."""
