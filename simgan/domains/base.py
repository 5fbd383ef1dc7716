"""What a domain is: all that differs between one kind of image and another, in one object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from simgan.errors import SourceError, require
from simgan.images.marks import COLUMNS, Kind, is_known
from simgan.measures.realism import Realism, measure_realism, patch_swd
from simgan.measures.shift import Shift, edges_left, flow_shift
from simgan.measures.statistics import Floats
from simgan.preparation.photometry import Photometry
from simgan.preparation.triangulation import Frames, Triangulation

Size = tuple[int, int]  # width and height in pixels
Images = NDArray[Any]  # stored images of one size: uint8 (N, H, W) or (N, H, W, 3), or depth, uint16 (N, H, W) in mm
Layer = tuple[str, int, int, int]  # of a discriminator: kind, kernel size, stride, maps (0: a pool keeps their number)

PATCHES: tuple[Layer, ...] = (
    ("conv", 3, 2, 96),
    ("conv", 3, 2, 64),
    ("pool", 3, 1, 0),
    ("conv", 3, 1, 32),
    ("conv", 1, 1, 32),
    ("conv", 1, 1, 2),
)
"""The paper's discriminator of small images: patches of 23 px, one every 4 px."""

PAPER: Mapping[str, Any] = {
    "refiner_warm_up": 1000,
    "discriminator_warm_up": 200,
    "batch_size": 512,
    "history_size": 51_200,
    "learning_rate": 1e-3,
    "betas": (0.9, 0.999),
    "regularization_weight": 0.4,
    "transform": "identity",
    "label_weight": 0.0,
    "preparation": False,
    "decay": 0.0,
    "max_grad_norm": 0.0,
    "ema_decay": 0.0,
    "augment": (),
    "flip": False,
}
"""Training settings of the paper, and of re-implementations where the paper has none."""


FEWEST = 0.4
"""Share of recognized images, below which a set is of another kind: of other things the iris finder takes 1 to 14 %."""


@dataclass(frozen=True)
class Label:
    """A column of labels.

    `shape` of one row; −1 is any number. `in_pixels`: it lies in the image and moves with the crop; `marks` says what
    it is, as in `simgan.images.marks`. Of points, the first two numbers of the last axis are x and y (whole numbers
    are pixel centres). `mirror`: the factors by which its numbers are multiplied where the image is mirrored; x of a
    point becomes width − 1 − x. `derive`: the columns from which it can be computed where a source lacks it, and the
    function of their values.
    """

    shape: tuple[int, ...] = ()
    in_pixels: bool = False
    marks: Kind = "points"
    mirror: tuple[float, ...] = ()
    derive: tuple[tuple[str, ...], Callable[..., Any]] | None = None


@dataclass(frozen=True)
class Recipe:
    """A preset: networks and training settings, each with its reason beside it."""

    refiner: Mapping[str, Any] = field(default_factory=dict)  # arguments of `RefinerConfig`
    discriminator: Mapping[str, Any] = field(default_factory=dict)  # of `DiscriminatorConfig`
    training: Mapping[str, Any] = field(default_factory=dict)  # of `TrainingConfig`, where they are not its defaults


@dataclass(frozen=True)
class Terms:
    """What a kind of source is, and its licence: an identifier of the Hub, or "research"; `terms` is a sentence."""

    what: str
    licence: str
    terms: str


@dataclass(frozen=True)
class Words:
    """What is said of a domain in cards, reports, sample sheets and the Space."""

    images: str  # what a refiner of it refines, in the plural
    purpose: str
    example: str = "image.png"  # a file name
    takes: str = "image of that kind of at least 16×16 pixels"  # what that file is
    types: str = "PIL, NumPy (uint8, uint16), tensors"  # that the library takes, beside files
    legend: str = "grey: nothing changed"  # of the difference on a sample sheet
    distance: str = "Sliced Wasserstein distance of standardized 7×7 patches at two scales."  # how realism is measured
    part: str = "edges"  # what moves
    unit: str = "px"
    where: str = "px"  # the unit, where it needs more words
    shift: str = "90th percentile of an image, mean without the worst 5 %"  # what the figure `shift` is
    short: str = "90th percentile"  # the same, in a legend
    middle: str = "median"  # what the figure `shift_median` is
    left: str = "edges left (local correlation and contrast)"  # what the figure `edges_left` is
    missed: str = "No optical flow was found"  # what is so in the share `shift_failed` of pairs
    unlabelled: str = ""  # how the measure is another, and errs, where no label says where the parts are
    paper: str = "Median and percentile are over edges, those that are labelled if any are, by dense optical flow."
    tag: str = "image-to-image"  # of the Hub
    limits: tuple[str, ...] = (
        "Annotation shift is measured by optical flow, which has errors of its own (about 0.1 px).",
    )
    task: str = ""  # the experiment of `simgan evaluate` that its labels are for; without one the next six are empty
    networks: str = ""
    labels: str = ""
    figure: str = ""  # of a network, by which it is judged: a key of the experiment's rows by seed
    metric: str = ""
    scale: float = 1
    sign: str = ""

    def beside(self, record: Mapping[str, Any]) -> str:
        """Return what must be said beside the shift of a record of training, "" where it was measured at labels."""
        return self.unlabelled if record.get("shift_labelled", 0) < 1 else ""

    @property
    def records(self) -> str:
        """The file in a model's folder that holds what networks trained on its images reached; "" without a task."""
        return f"{self.task}.json" if self.task else ""


@dataclass(frozen=True)
class PointsWeight:
    """Discs about labelled points of the columns `columns`, where the self-regularization weighs more.

    `radius` in px of each point's disc; columns that a source lacks mark nothing. `find`, for sources without the first
    column, returns its points in stored images (N, H, W) as a list for each image, empty where there are none.
    `ConfigError` for a single name in place of a tuple.
    """

    columns: tuple[str, ...]
    radius: float
    find: Callable[[Images], list[list[list[float]]]] | None = None

    def __post_init__(self) -> None:
        require(not isinstance(self.columns, str), f"columns is a tuple of names: write ({self.columns!r},)")


@dataclass(frozen=True)
class MarkedWeight:
    """What the column `column` marks, where the self-regularization weighs more.

    It is one that moves with the crop: points, boxes, polygons or a mask, filled as by `simgan.images.marks.draw`.
    """

    column: str


@dataclass(frozen=True)
class SurfaceWeight:
    """Surfaces of depth, away from edges: where values (in [−1, 1]) within `reach` px differ by less than `edge`."""

    edge: float
    reach: int

    def masks(self, x: Tensor) -> Tensor:
        """Return masks (B, 1, H, W), 1 on surfaces and else 0, of a batch (B, C, H, W) in [−1, 1]."""
        window: Any = {"kernel_size": 2 * self.reach + 1, "stride": 1, "padding": self.reach}
        span = F.max_pool2d(x, **window) + F.max_pool2d(-x, **window)
        return (span.amax(1, keepdim=True) < self.edge).to(x)


@dataclass(frozen=True)
class Domain:
    """One kind of image. Measures take stored images as the codec shows them to people: 8 bits, or depth in mm."""

    name: str
    codec: str  # of `simgan.images.codecs`: grey8, rgb8 or depth16
    size: Size | None  # of an image; None where images keep their own size
    recipes: Mapping[str, Recipe]  # by the name of the preset
    words: Words
    realism: Callable[[Images, Images], float] = patch_swd  # distance ≥ 0 from real images, by which training chooses
    shift: Callable[[Images, Images, Mapping[str, Any]], Floats] = flow_shift
    """How far labelled parts moved between images before and after refining, with their labels by column: (N, 2),
    median and 90th percentile of each image in the unit of `words`; NaN where it cannot be measured."""
    edges_left: Callable[[Images, Images, Mapping[str, Any]], Floats] | None = edges_left
    """How much is left of the edges of labelled parts, which a measure of shift cannot see: (N,) in [−1, 1], NaN where
    there were none. None: it is not measured."""
    measure_realism: Callable[..., Realism] = measure_realism  # the fuller measure of `simgan evaluate realism`
    measure_shift: Callable[..., Shift] | None = None  # gets (before, after, labels, seed=0); None: sums up `shift`
    labels: Mapping[str, Label] = field(default_factory=dict)  # columns that its sources may have
    terms: Mapping[str, Terms] = field(default_factory=dict)  # of its sources, by their kind
    recognize: Callable[[Images], float] | None = None
    """Share of stored images that plainly are of this kind; below `FEWEST` a set is refused. None: all are taken."""
    weight: PointsWeight | MarkedWeight | SurfaceWeight | None = None
    """Where the label must not move, and the self-regularization weighs more."""
    fit_photometry: Callable[[Photometry, Images, Images], None] | None = None
    """Fits light and tones, in place and without labels, to stored synthetic and real images before the network is
    trained; `SourceError` where they are of another kind. None: refiners have no photometry."""
    learn_triangulation: Callable[[Frames, Frames], Triangulation] | None = None
    """Learns what a depth camera does, without labels, from synthetic and real images."""
    outlines: Callable[[Mapping[str, Any]], list[Floats]] | None = None
    """Lines, each (n, 2) of x and y in px, that show over an image what its labels (by column) say; None: not drawn."""
    find_crops: Callable[[Images], list[Floats]] | None = None
    """Finds in a photograph, uint8 (H, W, 3), crops like the training images: for each of them the affine map (2, 3)
    that takes a place in the crop, of this domain's size, to the photograph; pixels end at whole numbers. May need the
    extra [demo]. None: photographs are refined whole."""
    unusual_layout: float | None = None
    """`simgan.space.notes.strangeness` above which a visitor's image is unusual; None if layouts are not compared."""

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of labels that measures get where a source has them: its own, and those of any kind of image."""
        return tuple(dict.fromkeys((*self.labels, *COLUMNS)))

    def is_labelled(self, labels: Mapping[str, Any]) -> bool:
        """Return whether labels, by column, say where a part of any image lies; those of the domain, if it has such."""
        places = [name for name, label in self.labels.items() if label.in_pixels]
        return any(is_known(value) for name in places or COLUMNS for value in labels.get(name, ()))

    def check_kind(self, source: str, images: Images) -> None:
        """Raise `SourceError` where stored images of a source are plainly of another kind; a control may be."""
        if self.recognize is None or source.startswith("shuffled:"):
            return
        if (share := self.recognize(images)) < FEWEST:
            raise SourceError(
                f"{source} shows no {self.words.images}: {share:.0%} of its images look like such; "
                "for images of another kind there is --preset images, and models trained with it"
            )
