"""Images as files, PIL images, arrays and tensors, and the way back."""
