"""The embedded eye domain: `eyes`, a clean renderer with exact labels, and `camera`, a "real" world that it must meet.

Both have `render(indices, *, seed=0) -> (images, labels)`; image i depends on the seed and on i alone.
"""
