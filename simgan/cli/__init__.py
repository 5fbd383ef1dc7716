"""The command `simgan`; what one of its commands needs is imported when it is called."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from simgan import __version__
from simgan.cli.ablate import ablate
from simgan.cli.evaluate import MEASURES, evaluate
from simgan.cli.report import report
from simgan.errors import PublishError, SimGANError

DESCRIPTION = "SimGAN: make labelled synthetic images look real without losing their labels."
Input = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Repository = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ORG/NAME")]


def refine(
    source: Input,
    output: Output,
    /,
    model: str = "eyes",
    strength: float = 1.0,
    batch_size: int | None = None,
    skip_bad: bool = False,
    copy: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    push_to_hub: str | None = None,
    private: bool = False,
    replace_card: bool = False,
) -> None:
    """Make images look real. Labels, names, formats and bit depths stay; an interrupted run goes on where it was.

    Args:
        source: an image, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set (folder or .parquet).
        output: where the refined ones go; the same kind (an archive may become a folder). JPEG files keep their own
            quality, all else is written without loss.
        model: a shipped refiner, a folder, or a Hub id (org/name).
        strength: 0 gives the input back, 1 the refined image.
        batch_size: images that are refined together.
        skip_bad: leave broken images out and list them at the end.
        copy: pattern of images that are labels, such as "masks/*": copied as they are. May be given several times.
        push_to_hub: push what was refined, now or before, as a data set with its labels to this Hub id (org/name).
        private: make a new repository private.
        replace_card: replace a card (README.md) that is there already.
    """
    from simgan import Refiner
    from simgan.refining.files import refine_path

    refiner = Refiner.from_pretrained(model)
    there = False
    if push_to_hub is not None:
        from simgan.hub.push_data import is_refined, made_by, note_refined, push_data
        from simgan.hub.uploading import permission_problem

        problem = permission_problem(push_to_hub)
        if problem:
            print(f"warning: a push to {push_to_hub} would fail now: {problem}", file=sys.stderr)
        there = is_refined(output, refiner, strength, copy)
    if there:
        print(f"{output} was refined before")
    else:
        done = refine_path(
            refiner,
            Path(source),
            output,
            strength=strength,
            batch_size=batch_size,
            skip_bad=skip_bad,
            copy=copy,
        )
        already = f", {done.already} were done before" if done.already else ""
        copied = f", {done.copied} other files copied" if done.copied else ""
        print(f"{done.images} images refined into {output}{already}{copied}")
        _tell_broken(done.broken)
    if push_to_hub is not None:
        note_refined(output, refiner, strength, copy)
        try:
            made, where = made_by(refiner, strength), {"private": private, "replace_card": replace_card}
            print(push_data(output, push_to_hub, made, leave_out=copy, **where))
        except PublishError as error:
            raise PublishError(f"{error}; {output} is whole, and the same command pushes it later") from error


def prepare(
    source: Input,
    output: Output,
    /,
    align: str | None = None,
    size: tuple[int, int] = (55, 35),
    channels: Literal[1, 3] = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a source once as Arrow shards of crops with their labels, for training.

    Args:
        source: such as unityeyes:DIR, syntheseyes:DIR, mpiigaze:DIR, nyu:DIR, folder:DIR, hub:org/name or
            simulator:eyes.
        output: a new folder; training takes it as a source by its path.
        align: a source of real images whose scale and centre the crops are brought to, without labels.
        size: width and height of a crop; 224 224 for hands.
        channels: 1 for grey crops, 3 to keep their colours.
        limit: at most so many images.
        seed: draws them.
        skip_bad: leave broken files out and list them at the end.
        processes: that read at the same time; all cores if not given.
        overwrite: replace what was prepared in the output before.
    """
    from simgan.data.prepare import prepare as write

    done = write(
        source,
        output,
        align=align,
        size=size,
        channels=channels,
        limit=limit,
        seed=seed,
        skip_bad=skip_bad,
        processes=processes,
        overwrite=overwrite,
    )
    print(f"{done.count} crops in {output}")
    if done.alignment is not None:
        print(f"{done.alignment.summary}; the mean images are in {output}-alignment.png")
    _tell_broken(done.broken)


def simulate(
    world: Annotated[Literal["simulator:eyes", "camera:eyes", "simulator:hands", "camera:hands"], tyro.conf.Positional],
    output: Output,
    /,
    count: int = 1000,
    seed: int = 0,
) -> None:
    """Write labelled eyes or hands as PNG files and metadata.jsonl, which `folder:DIR` reads back.

    Args:
        world: clean renders, or the look-alike of a webcam's images or of a depth camera's (16 bits, mm).
        output: a folder that does not exist yet.
        count: how many.
        seed: another one gives other persons.
    """
    from simgan.data.simulated import write_images

    write_images(world, output, count=count, seed=seed)
    print(f"{count} images and metadata.jsonl in {output}")


def push(
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    repository: Repository,
    /,
    revision: str | None = None,
    create_pr: bool = False,
    private: bool = False,
    replace_card: bool = False,
    token: str | None = None,
) -> None:
    """Push a trained model to the Hub in one commit: networks, card, samples, figures, measures. Again: only changes.

    Args:
        run: the folder of a run or of a model, or a shipped model.
        repository: org/name; made if it does not exist.
        revision: a branch; main if not given.
        create_pr: propose it as a pull request.
        private: make a new repository private.
        replace_card: replace a card (README.md) that is there already.
        token: of the Hub; if not given HF_TOKEN, or that of `hf auth login`.
    """
    from simgan.hub.push import push_model

    where: dict[str, Any] = {"revision": revision, "create_pr": create_pr, "private": private, "token": token}
    print(push_model(run, repository, replace_card=replace_card, **where))


def space_push(
    repository: Repository,
    /,
    models: tuple[str, ...] = (),
    private: bool = False,
    token: str | None = None,
) -> None:
    """Push this page as a Space of your own: app.py, the package as it is here, and what it needs. Again: only changes.

    Args:
        repository: org/name; made if it does not exist.
        models: Hub ids that the Space's page lists.
        private: make a new Space private.
        token: of the Hub; if not given HF_TOKEN, or that of `hf auth login`.
    """
    from simgan.space.push import push_space

    print(push_space(repository, models=models, private=private or None, token=token))


def space() -> None:
    """Put the page of `app.py` on the Hub: `simgan space push`."""
    tyro.extras.subcommand_cli_from_dict(SPACES, prog="simgan space", args=["--help"])


SPACES: dict[str, Callable[..., Any]] = {"push": space_push}
COMMANDS: dict[str, Callable[..., Any]] = {
    "refine": refine,
    "prepare": prepare,
    "simulate": simulate,
    "evaluate": evaluate,
    "ablate": ablate,
    "report": report,
    "push": push,
    "space": space,
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what goes wrong on purpose ends as one sentence and exit status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        print(f"simgan {__version__}")
        return
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # our own bar tells enough
    commands, name = COMMANDS, "simgan"
    if given[:1] in (["evaluate"], ["space"]) and len(given) > 1:
        commands, name = (MEASURES, SPACES)[given[0] == "space"], f"simgan {given[0]}"
        given = given[1:]
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog=name, description=DESCRIPTION, args=given)
    except SimGANError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # of `simgan … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("interrupted; call it again to go on")


def _tell_broken(broken: list[str]) -> None:
    for line in broken:
        print(f"left out: {line}", file=sys.stderr)
