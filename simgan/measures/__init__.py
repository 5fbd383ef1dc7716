"""Realism, annotation shift and their statistics."""
