"""The tab Where it looks fake: the discriminator's patch map over the input and over the refined image."""

import gradio as gr

from simgan.demo.models import Models


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""
