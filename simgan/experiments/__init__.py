"""Measures of a refiner: how real its images are (`realism`), and whether their labels stayed true (`shift`)."""
