"""Classes: networks that say what an image shows."""
