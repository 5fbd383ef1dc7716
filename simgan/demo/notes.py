"""What a visitor is told about an image: what it is, and whether it is far from what the model was trained on."""

from PIL import Image

from simgan.demo.models import Model
from simgan.domains import DOMAINS

SCALE = 1.5  # by how much the size may differ from the domain's before a visitor is warned


def describe(model: Model, image: Image.Image, seconds: float) -> str:
    """Say in Markdown what was refined by what, and warn where the result is not to be trusted."""
    depth = "16-bit" if image.mode.startswith("I") else "8-bit"
    colour = "colour" if image.mode in ("RGB", "RGBA") else "grey"
    lines = [f"{image.width}×{image.height}, {depth} {colour}, refined by `{model.name}` in {1000 * seconds:.0f} ms."]
    return "\n\n".join(lines + [f"> ⚠️ {warning}" for warning in warnings(model, image)])


def warnings(model: Model, image: Image.Image) -> list[str]:
    """Say in which ways an image differs from those that the model was trained on."""
    domain = DOMAINS.get(model.refiner.config.domain)
    if domain is None:
        return []
    found = []
    factors = (image.width / domain.width, image.height / domain.height)
    if max(factors) > SCALE or min(factors) < 1 / SCALE:
        found.append(
            f"This model was trained on {domain.name} of {domain.width}×{domain.height} pixels. The image was refined "
            "all the same, but at another scale the result is not to be trusted: crop it to one of them, and resize it."
        )
    return found
