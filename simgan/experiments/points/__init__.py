"""Points: networks that find places in images."""
