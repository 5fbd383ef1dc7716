"""What is said of each domain, in cards and reports: all that differs in words between eyes and hands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of a domain; its task is the experiment of `simgan evaluate` that its labels are for."""

    images: str  # what a refiner of it refines
    purpose: str
    example: str  # a file's name
    takes: str  # what that file is
    types: str  # that the library takes, beside files
    legend: str  # of the difference on a sample sheet
    distance: str  # how realism is measured
    part: str  # what moves
    unit: str
    where: str  # the unit's own, where it needs more words
    shift: str  # what the figure `shift` is
    short: str  # the same, in a legend
    missed: str  # what is so in the share `shift_failed` of pairs
    paper: str
    task: str
    tag: str
    networks: str
    labels: str
    figure: str  # of a network, by which it is judged, a key of the experiment's rows by seed
    metric: str
    scale: float
    sign: str
    limits: tuple[str, ...]

    @property
    def records(self) -> str:
        """The file in a model's folder that holds what networks trained on its images reached."""
        return f"{self.task}.json"


WORDS = {
    "eyes": Words(
        images="eye crops",
        purpose="It is for making rendered eye crops of the kind below look like the real ones below, before a gaze or "
        "landmark network is trained on\nthem with their labels. It is not for whole faces, for crops at another scale "
        "(`simgan prepare --align` tells), for making a photograph\nbetter, or for deciding anything about a person.",
        example="eye.png",
        takes="image of that kind of at least 16×16 pixels",
        types="PIL, NumPy (uint8, uint16), tensors",
        legend="grey: nothing changed",
        distance="Sliced Wasserstein distance of standardized 7×7 patches at two scales.",
        part="iris",
        unit="px",
        where="px at 55 px width",
        shift="mean without the worst 5 %",
        short="mean of 95 %",
        missed="The iris was not found",
        paper="The paper reports that pupil centres moved 1.1 ± 0.8 px, marked by hand.",
        task="gaze",
        tag="gaze-estimation",
        networks="gaze networks",
        labels="Gaze error",
        figure="error",
        metric="gaze-error",
        scale=1,
        sign="°",
        limits=(
            "Annotation shift is measured with an iris finder that errs itself, on irises alone: lids and corners are "
            "not checked.",
            "It is deterministic and local: it adds no noise of its own, moves no eyelid and no head, and cannot mend "
            "a wrong crop.",
        ),
    ),
    "hands": Words(
        images="depth images of hands",
        purpose="It is for making rendered depth of hands of the kind below look like what the real camera below "
        "measures, before a hand pose network is\ntrained on it with its joints. It is not for other depth cameras or "
        "scales (a crop shows 300 mm in 224 px), for bodies and rooms, for\nmending a camera's own images, or for "
        "deciding anything about a person.",
        example="hand.png",
        takes="depth image of 16 bits, millimetres, 0 = no reading, of at least 16×16 pixels, the hand nearest to the "
        "camera",
        types="PIL, NumPy (uint16)",
        legend="grey: nothing moved; white or black: 10 mm farther or nearer; orange: reading lost; blue: gained",
        distance="Mean of two sliced Wasserstein distances of 7×7 patches at two scales: of depth without its median "
        "over 5×5 pixels, and of where there is any.",
        part="surface",
        unit="mm",
        where="mm",
        shift="90th percentile of an image, mean without the worst 5 %",
        short="90th percentile",
        missed="No reading was left",
        paper="Median and percentile are over the pixels of an image that have a reading before and after.",
        task="hands",
        tag="hand-pose-estimation",
        networks="hand pose networks",
        labels="Joints within 5 px",
        figure="share_within_5px",
        metric="joints-within-5px",
        scale=100,
        sign=" %",
        limits=(
            "Annotation shift is measured on the surface, where both images have a reading; joints lie below it.",
            "It is deterministic and local: it draws no noise of its own, moves no finger, throws no shadow that "
            "reaches farther than it sees, and cannot mend a wrong crop.",
            "What lies beyond 300 mm of depth behind the nearest reading is background to it, and stays as it is.",
        ),
    ),
}
"""By the name of the domain."""
