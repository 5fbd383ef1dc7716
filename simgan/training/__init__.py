"""Training a refiner: Algorithm 1 of the paper on Accelerate, with checkpoints chosen by evidence."""
