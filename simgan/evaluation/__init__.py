"""Measures of a refiner: how real its images are (`realism`)."""
