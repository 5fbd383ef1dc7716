"""Cards of models and data sets, rendered from records; no figure is typed by hand."""
