"""Refining: arrays on a device, files, data sets."""
