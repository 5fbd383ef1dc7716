"""Models and data sets on the Hugging Face Hub: load, push, cards."""

VERSION = "1.0.0"  # of simgan: what is saved and pushed names it
