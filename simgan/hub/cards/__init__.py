"""Cards of models and data sets, rendered from the records that training and refining leave; no figure is typed."""
