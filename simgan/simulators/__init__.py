"""The embedded domains. Each has a clean renderer with exact labels, and a "real" world that it must meet.

Eyes: `eyes` and `camera`, a webcam. Hands: `hands`, and `depth_camera`. All have
`render(indices, *, seed=0) -> (images, labels)`; image i depends on the seed and on i alone.
"""
