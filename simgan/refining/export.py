"""A refiner as a file for other engines: from stored images to stored images, with everything inside; a discriminator.

The file is of ONNX. Its `images` are of the kind that the refiner was trained on: uint8 (B, H, W), or (B, H, W, 3) in
colour, or uint16 (B, H, W) of depth in mm, any B, and H and W of at least 16. `strength` is a float32, from 0 (the
images as they are) to 1 (refined). `refined` is of the shape and type of `images`.
"""

import io
import logging
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from simgan.errors import ConfigError
from simgan.images import codecs
from simgan.refining.engine import RefinerLike
from simgan.refining.pixels import refine_pixels, see

OPSET = 20  # the first one that interpolates in three dimensions, as tone curves do
# Polynomials of Giles (2010), "Approximating the erfinv function", in single precision; the highest power comes first.
_NEAR: tuple[float, ...] = (2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4)
_NEAR += (-1.25372503e-3, -4.17768164e-3, 0.246640727, 1.50140941)
_FAR: tuple[float, ...] = (-2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3)
_FAR += (-7.6224613e-3, 9.43887047e-3, 1.00167406, 2.83297682)


class _Pixels(nn.Module):
    """What is exported of a refiner."""

    def __init__(self, refiner: RefinerLike) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, images: Tensor, strength: Tensor) -> Tensor:
        def network(x: Tensor) -> Tensor:
            return self.refiner.convolve(self.refiner.prepare(x, equalized=True)).clamp(-1, 1)

        return refine_pixels(self.refiner.config, images, strength, network)


class _Judged(nn.Module):
    """What is exported of a discriminator."""

    def __init__(self, refiner: RefinerLike, discriminator: Any) -> None:
        super().__init__()
        self.config, self.discriminator = refiner.config, discriminator

    def forward(self, images: Tensor) -> Tensor:
        seen = see(self.config, self.discriminator.config.channels, images)
        found: Tensor = self.discriminator.patches_real(seen)
        return found


def to_onnx(refiner: RefinerLike) -> bytes:
    """Return a refiner as the bytes of an ONNX file; it computes in float32.

    `ConfigError` where PyTorch's exporter is not installed, or the refiner's weights are not float32 on a CPU.
    """
    return _export(_Pixels(refiner), refiner.config, {"strength": torch.tensor(1.0)}, "refined", None)


def judge_to_onnx(refiner: RefinerLike, discriminator: nn.Module) -> bytes:
    """Return the discriminator of a refiner as the bytes of an ONNX file; errors as of `to_onnx`.

    Its `images` are as the refiner's, of one scene: before and after, as it was trained to see them. `probability_real`
    is a float32 (B, h, w) from 0 to 1, a value for each patch.
    """
    return _export(_Judged(refiner, discriminator), refiner.config, {}, "probability_real", ["rows", "columns"])


def _export(module: nn.Module, config: Any, more: dict[str, Tensor], output: str, sides: list[str] | None) -> bytes:
    """Return a function of stored images, and of `more`, as an ONNX file; its output is (B, *sides), or as they are."""
    try:
        from onnx_ir import Shape  # of onnxscript, which PyTorch's exporter needs
    except ImportError as error:
        raise ConfigError(
            f'ONNX files need {error.name}, which is not installed: pip install "simgan[onnx]"'
        ) from error
    # It warns that torchvision, which is not needed, is missing.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    weights = next(module.parameters())
    if weights.dtype != torch.float32 or weights.device.type != "cpu":
        raise ConfigError(f"weights are {weights.dtype} on {weights.device}: call cpu().float() before the export")
    codec = codecs.get(config.codec)
    colour = (3,) if codec.channels == 3 else ()
    images = torch.full((2, 35, 55, *colour), 500, dtype=torch.int32)  # any whole numbers, of sides of no special size
    images = images.to(torch.uint16) if codec.is_depth else (images // 4).to(torch.uint8)
    free = torch.export.Dim.DYNAMIC
    sizes: dict[str, Any] = {"images": {0: free, 1: free, 2: free}, **{name: {} for name in more}}
    with torch.no_grad():
        program = torch.export.export(module.eval(), (images, *more.values()), dynamic_shapes=sizes, strict=False)
    # What ONNX has no operations for.
    aten = torch.ops.aten
    program = program.run_decompositions(
        {aten.special_ndtri.default: normal_quantile, aten.searchsorted.Tensor: _count_up_to}
    )
    exported = cast(
        Any,
        torch.onnx.export(
            program,
            input_names=["images", *more],
            output_names=[output],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        ),
    )
    graph = exported.model.graph
    shape = ["height", "width", *colour]
    graph.inputs[0].shape, graph.outputs[0].shape = Shape(["batch", *shape]), Shape(["batch", *(sides or shape)])
    for number, value in enumerate([*graph.initializers.values()]):
        value.name = f"constant_{number}"
    for number, node in enumerate(graph.all_nodes()):
        node.metadata_props.clear()  # where it stands in the code, with folders of this machine
        node.name = f"node_{number}"  # else names differ from export to export
        for place, value in enumerate(node.outputs):
            value.name = output if value.is_graph_output() else f"value_{number}_{place}"
    exported.model.metadata_props.update({"domain": config.domain, "codec": config.codec})
    file = io.BytesIO()
    exported.save(file)
    return file.getvalue()


def normal_quantile(p: Tensor) -> Tensor:
    """Return the quantile of the normal distribution at p, within (0, 1) in float32, as `torch.special.ndtri`."""
    w = -torch.log(4 * p * (1 - p))
    return math.sqrt(2) * (2 * p - 1) * torch.where(w < 5, _polynomial(_NEAR, w - 2.5), _polynomial(_FAR, w.sqrt() - 3))


def _polynomial(factors: tuple[float, ...], x: Tensor) -> Tensor:
    total = torch.full_like(x, factors[0])
    for factor in factors[1:]:
        total = total * x + factor
    return total


def _count_up_to(rising: Tensor, value: Tensor, **_: Any) -> Tensor:
    """Return how many of rising values (B, N) are at most `value` (B, 1), as `searchsorted` from the right."""
    return (rising <= value).sum(-1, keepdim=True)
