"""What `simgan reproduce` makes, step by step: the command lines that a user would type, and what they leave.

A command may hold `{out}` (the folder of it all), `{data}` (that of `--data`), `{benchmarks}` (of a checkout), `{seed}`
and `{renders}`, a seed of renders that no training has seen. Another step is another entry here, and nothing else.
"""

from dataclasses import dataclass

_RENDERS = 10  # training draws its images by the seeds 1 and 2, whatever its own
_ANY_SHIFT = "--max-shift 99 --max-median-shift 99"  # a control keeps what is most real, wherever its labels went
_SIZES = "--seeds 3 --width 0.25 --steps 400 --limit 3000 --test-limit 1000"


@dataclass(frozen=True)
class Step:
    """A step: what it is called and about, its commands in turn, and the files or folders they make below `{out}`.

    `minutes`: about how long it takes on two slow cores. `needs`: steps that have to be done before. `reported`: what
    of it is given to `simgan report`; the step whose commands hold `{reported}` is done anew each time.
    """

    name: str
    about: str
    commands: tuple[str, ...]
    makes: tuple[str, ...]
    minutes: float
    needs: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()


EMBEDDED = (
    Step(
        "train",
        "eyes-simulated, a refiner on the embedded domain",
        (
            "accelerate launch -m train_accelerate --preset eyes-large --seed {seed} --steps 2000 "
            "--output {out}/eyes-simulated",
        ),
        makes=("eyes-simulated/checkpoints/step-002000", "eyes-simulated/model.safetensors"),
        minutes=20,
        reported=("eyes-simulated",),
    ),
    Step(
        "controls",
        "two refiners that must not help gaze: λ = 0, and towards real images with shuffled pixels",
        tuple(
            f"accelerate launch -m train_accelerate --preset eyes --seed {{seed}} --steps 600 {_ANY_SHIFT} {changed} "
            f"--output {{out}}/{name}"
            for name, changed in (
                ("no-regularization", "--regularization-weight 0"),
                ("shuffled", "--real shuffled:camera:eyes"),
            )
        ),
        makes=("no-regularization/checkpoints/step-000600", "shuffled/checkpoints/step-000600"),
        minutes=6,
        reported=("no-regularization", "shuffled"),
    ),
    Step(
        "realism",
        "realism on renders of another seed",
        (
            "simgan evaluate realism simulator:eyes camera:eyes --model {out}/eyes-simulated --seed {renders} "
            "--output {out}/realism.json",
        ),
        makes=("realism.json",),
        minutes=1,
        needs=("train",),
        reported=("realism.json",),
    ),
    Step(
        "shift",
        "annotation shift on renders of another seed",
        (
            "simgan evaluate shift simulator:eyes --model {out}/eyes-simulated --seed {renders} "
            "--output {out}/shift.json",
        ),
        makes=("shift.json",),
        minutes=1,
        needs=("train",),
        reported=("shift.json",),
    ),
    Step(
        "gaze",
        "gaze on the embedded domain",
        (
            "simgan evaluate gaze simulator:eyes camera:eyes --model {out}/eyes-simulated {out}/no-regularization "
            "{out}/shuffled --train-real camera:eyes --arms synthetic refined synthetic+blur+noise+contrast "
            f"4x-synthetic 4x-refined real --finetune 100 1000 {_SIZES} "
            "--output {out}/eyes-simulated/gaze.json",  # into its model-index too
        ),
        makes=("eyes-simulated/gaze.json",),
        minutes=12,
        needs=("train", "controls"),
    ),
    Step(
        "train-hands",
        "hands-simulated, a refiner of depth on the embedded domain",
        (
            "accelerate launch -m train_accelerate --preset hands --seed {seed} --steps 500 --evaluate-every 100 "
            "--limit 2000 --output {out}/hands-simulated",
        ),
        makes=("hands-simulated/checkpoints/step-000500", "hands-simulated/model.safetensors"),
        minutes=5,
        reported=("hands-simulated",),
    ),
    Step(
        "measures-hands",
        "realism of depth, and how far the surface moves, on renders of another seed",
        (
            "simgan evaluate realism simulator:hands camera:hands --model {out}/hands-simulated --seed {renders} "
            "--limit 300 --output {out}/realism-hands.json",
            "simgan evaluate shift simulator:hands --model {out}/hands-simulated --seed {renders} --limit 300 "
            "--output {out}/shift-hands.json",
        ),
        makes=("realism-hands.json", "shift-hands.json"),
        minutes=2,
        needs=("train-hands",),
        reported=("realism-hands.json", "shift-hands.json"),
    ),
    Step(
        "hands",
        "hand pose on the embedded domain",
        (
            "simgan evaluate hands simulator:hands camera:hands --model {out}/hands-simulated --arms synthetic refined "
            "--seeds 2 --steps 200 --limit 500 --test-limit 300 "
            "--output {out}/hands-simulated/hands.json",  # into its model-index too
        ),
        makes=("hands-simulated/hands.json",),
        minutes=5,
        needs=("train-hands",),
    ),
    Step(
        "ablation",
        "what each part of the method adds",
        ("simgan ablate {out}/ablation --seeds 2 --steps 200",),
        makes=("ablation/ablation.json", "ablation/ablation.md", "ablation/frontier.png"),
        minutes=22,
        reported=("ablation",),
    ),
    Step(
        "speed",
        "speed of refining, training, simulators and data",
        tuple(f"python {{benchmarks}}/{name}.py" for name in ("refine", "training", "simulators", "data")),
        makes=("speed.log",),  # what they print
        minutes=8,
    ),
)

_SYNTHESEYES = "syntheseyes:{data}/eyes_synthetic/syntheseyes_grey.parquet"
_UNITYEYES = "folder:{data}/eyes_synthetic/unityeyes"
_MPIIGAZE, _P00 = "folder:{data}/eyes_real/mpiigaze", "folder:{data}/eyes_real/mpiigaze_p00"
DATA = (  # below the folder of --data
    *("eyes_synthetic/syntheseyes_grey.parquet", "eyes_synthetic/unityeyes"),
    *("eyes_real/mpiigaze", "eyes_real/mpiigaze_p00"),
)

REAL = (
    Step(
        "train-real",
        "eyes, a refiner towards MPIIGaze, and the same without p00, on whom gaze is tested",
        tuple(
            f"accelerate launch -m train_accelerate --preset eyes --seed {{seed}} --steps 2000 --transform gradients "
            f"--regularization-weight 1 --synthetic {_SYNTHESEYES} {_SYNTHESEYES} {_UNITYEYES} --real {real} "
            f"--output {{out}}/{name}"
            for name, real in (("eyes", f"{_MPIIGAZE} {_MPIIGAZE} {_P00}"), ("eyes-without-p00", _MPIIGAZE))
        ),
        makes=tuple(f"{name}/checkpoints/step-002000" for name in ("eyes", "eyes-without-p00")),
        minutes=20,
        reported=("eyes", "eyes-without-p00"),
    ),
    Step(
        "realism-real",
        "realism of SynthesEyes, refined, beside MPIIGaze",
        (
            f"simgan evaluate realism {_SYNTHESEYES} {_MPIIGAZE} --model {{out}}/eyes --seed {{seed}} "
            "--output {out}/realism-real.json",
        ),
        makes=("realism-real.json",),
        minutes=2,
        needs=("train-real",),
        reported=("realism-real.json",),
    ),
    Step(
        "shift-real",
        "annotation shift of SynthesEyes",
        (
            f"simgan evaluate shift {_SYNTHESEYES} --model {{out}}/eyes --seed {{seed}} "
            "--output {out}/shift-real.json",
        ),
        makes=("shift-real.json",),
        minutes=2,
        needs=("train-real",),
        reported=("shift-real.json",),
    ),
    Step(
        "gaze-real",
        "gaze on MPIIGaze's p00, from SynthesEyes",
        (
            f"simgan evaluate gaze {_SYNTHESEYES} {_P00} --model {{out}}/eyes {{out}}/eyes-without-p00 --seeds 5 "
            "--arms synthetic refined synthetic+blur --augment shift contrast noise --pitch 29 --yaw 34 "
            "--test-limit 1500 --output {out}/eyes/gaze.json",
        ),
        makes=("eyes/gaze.json",),
        minutes=20,
        needs=("train-real",),
    ),
)

REPORT = Step(
    "report",
    "the report of it all",
    ("simgan report {reported} --output {out}/report",),
    makes=("report/report.md",),
    minutes=1,
)


def steps(*, data: bool = False) -> tuple[Step, ...]:
    """Give all steps in turn, the report last; those on real eyes too, where there are `data`."""
    return (*EMBEDDED, *(REAL if data else ()), REPORT)


def seeds(seed: int) -> dict[str, str]:
    """Give what `{seed}` and `{renders}` stand for."""
    return {"seed": str(seed), "renders": str(seed + _RENDERS)}
