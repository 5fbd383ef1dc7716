"""Models and data sets on the Hugging Face Hub: load, push, cards."""
