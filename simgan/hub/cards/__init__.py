"""Cards of models and data sets, rendered from records alone."""
