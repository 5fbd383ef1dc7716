"""The page: its tabs, its queue, its temporary files, and how it is launched."""

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from filelock import FileLock, Timeout
from gradio.utils import get_space
from starlette.middleware import Middleware

from simgan.space import accelerator, batch_tab, patch_tab, refine_tab, training_tab, turing_tab, uploads
from simgan.space.events import HERE, TEXTS
from simgan.space.fair_queue import FairQueue
from simgan.space.guard import Guard
from simgan.space.models import Models
from simgan.space.preview import Preview, draw_picture

PREFIX = "simgan-space-"  # of folders of temporary files
KEPT = (600, 3600)  # seconds: uploads and results are looked through so often, and deleted at that age
WAITING = 200  # events that may wait
SESSIONS = 100  # pages whose state Gradio keeps, 250 kB each; its own limit is 10,000


def own_temporary_folder() -> Path:
    """Put all temporary files of this process into a new folder, locked until it ends; delete those that are not."""
    root = Path(tempfile.gettempdir())
    with FileLock(root / f"{PREFIX}start.lock"):  # a new folder is not looked at before it is locked
        for left in root.glob(f"{PREFIX}*/"):
            with contextlib.suppress(Timeout, OSError), FileLock(left / "lock", timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / "lock")
        lock.acquire()
    tempfile.tempdir = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(lock.release)  # before that
    return folder


def build(real: Path | None = None) -> gr.Blocks:
    """Return the interface with shipped models loaded; `real` is a folder of real crops for the visual Turing test.

    It starts processes that read files, so a script that builds it needs `if __name__ == "__main__":`.
    """
    models = Models()
    space, title = get_space(), TEXTS.title(models.domains()).strip()
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=KEPT) as demo:
        gr.Markdown(TEXTS.introduction(title, space), elem_id="introduction")
        gr.DuplicateButton("Duplicate this Space", visible=space is not None, elem_id="duplicate")
        with gr.Tabs(overflow_behavior="wrap"):
            for name, label, add in (
                ("refine", "Refine", refine_tab.add),
                ("patches", "Where it looks fake", patch_tab.add),
                ("batch", "Batch", batch_tab.add),
                ("turing", "Can you tell?", functools.partial(turing_tab.add, folder=real)),
                ("training", "Training", training_tab.add),
            ):
                with gr.Tab(label, id=name):
                    add(models)
    demo.queue(max_size=WAITING, default_concurrency_limit=4, api_open=False)  # no call skips the queue
    demo._queue = FairQueue(demo._queue)
    vars(demo)["picture"] = draw_picture(title, models.domains())
    accelerator.hold(map(models.get, models.shipped))
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serve what `build` returned; `options` are those of `gr.Blocks.launch`."""
    # Regular and bold of the font that Gradio serves itself; its semi-bold lacks most letters.
    plex = gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700))
    font: list[gr.themes.Font | str] = [plex, "system-ui", "sans-serif"]
    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", radius_size="lg", font=font)
    theme.set(
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
    description, picture = " ".join(TEXTS.description().split()), vars(demo)["picture"]
    preview = Middleware(Preview, title=str(demo.title), description=description, picture=picture)
    return demo.launch(
        theme=theme,
        css_paths=[HERE / "style.css"],
        max_file_size=uploads.UPLOAD_BYTES,
        state_session_capacity=SESSIONS,
        app_kwargs={"middleware": [Middleware(Guard), preview]},
        run_history=False,  # it makes the server talk to the Hub
        enable_monitoring=False,
        mcp_server=False,
        head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        footer_links=["api"],
        ssr_mode=False,
        show_error=False,  # visitors read the text of `gr.Error` alone
        **options,
    )
