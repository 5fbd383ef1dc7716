"""The Space: what a visitor tries in a browser, and what code calls over HTTP. One file a tab; `build` joins them.

Every event goes through `events.told`, so that a visitor's mistake is a sentence in the page, and through one queue
round the model. Nothing is fetched from elsewhere: no fonts, no analytics.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from simgan.space import batch_tab, limits, patch_tab, refine_tab, training_tab, turing_tab
from simgan.space.guard import Guard
from simgan.space.models import Models
from simgan.space.storage import own_temporary_folder

HERE = Path(__file__).parent
KEPT = (600, 3600)  # seconds: how often uploads and results are looked through, and the age at which they are deleted
WAITING = 200  # events in the queue at most
INTRODUCTION = """
# Make synthetic {} look real

A simulator gives labelled images that look fake. A *refiner* makes them look like a camera's **without moving what the
labels say**, so that a network can be trained on them (SimGAN,
[Shrivastava et al. 2017](https://arxiv.org/abs/1612.07828)).
"""


def build(models: Models | None = None, real: Path | None = None) -> gr.Blocks:
    """Build the interface with shipped models loaded; `launch` serves it.

    `real`: a folder of real crops for the visual Turing test.
    """
    models = models or Models()
    with gr.Blocks(title="simgan", analytics_enabled=False, delete_cache=KEPT) as demo:
        gr.Markdown(INTRODUCTION.format("eyes and hands" if models.of_hands else "eyes"), elem_id="introduction")
        with gr.Tabs():
            with gr.Tab("Refine", id="refine"):
                refine_tab.add(models)
            with gr.Tab("Where it looks fake", id="patches"):
                patch_tab.add(models)
            with gr.Tab("Batch", id="batch"):
                batch_tab.add(models)
            with gr.Tab("Can you tell?", id="turing"):
                turing_tab.add(models, real)
            with gr.Tab("Training", id="training"):
                training_tab.add(models)
    return demo.queue(max_size=WAITING, default_concurrency_limit=4)


def serve(real: Path | None = None) -> None:
    """Serve the page until the process ends.

    Args:
        real: a folder of real eye crops for the visual Turing test; without it, simgan's look-alike of a camera's.
    """
    own_temporary_folder()
    launch(build(real=real))


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serve what `build` gave; `options` are those of `gr.Blocks.launch`."""
    settings: dict[str, Any] = {
        "theme": _theme(),
        "css_paths": [HERE / "style.css"],
        "max_file_size": limits.UPLOAD_BYTES,
        "app_kwargs": {"middleware": [Middleware(Guard)]},
        "run_history": False,  # of which a part makes the server talk to the Hub
        "enable_monitoring": False,
        "mcp_server": False,
        "head": f"<script>{(HERE / 'page.js').read_text()}</script>",
        "footer_links": ["api"],
        "ssr_mode": False,
        "show_error": False,  # what is no `gr.Error` is ours to read, not a visitor's
    }
    return demo.launch(**(settings | options))


def _theme() -> gr.Theme:
    # Regular and bold of the font that Gradio serves itself; its semi-bold lacks most letters.
    plex = gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700))
    font: list[gr.themes.Font | str] = [plex, "system-ui", "sans-serif"]
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", radius_size="lg", font=font)
    return theme.set(
        body_background_fill="*neutral_50",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        color_accent="*primary_700",
        link_text_color="*primary_700",
    )
