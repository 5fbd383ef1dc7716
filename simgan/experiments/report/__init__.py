"""Reports of what was trained and measured."""
