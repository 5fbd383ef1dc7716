"""The Space: a page for browsers and events for code, one file a tab; no fonts, no analytics from elsewhere."""

from pathlib import Path


def serve(real: Path | None = None) -> None:
    """Serve the page until the process ends.

    Args:
        real: a folder of real images for the visual Turing test; without it, those of simgan's look-alike of a camera.
    """
    import httpx  # by which Gradio asks its own server

    from simgan.hub.access import check_proxies, reach_loopback

    check_proxies(httpx.Client)
    reach_loopback()
    from simgan.space.page import build, launch, own_temporary_folder  # Gradio and PyTorch: 4 s

    own_temporary_folder()
    launch(build(real=real))
