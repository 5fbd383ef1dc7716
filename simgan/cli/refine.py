"""The command `simgan refine`."""

from typing import Any

import tyro

from simgan.cli.arguments import Input, OutputAddress, print_broken
from simgan.domains import DEFAULT_MODEL
from simgan.errors import PublishError, SourceError
from simgan.hub.push_data import describe, is_refined, note_refined, push_data
from simgan.hub.uploading import warn_of_refusal
from simgan.refiner import Refiner
from simgan.refining.files import refine_path, stamps_of
from simgan.refining.job import record
from simgan.refining.labels import NOT
from simgan.refining.places import is_remote, place_of
from simgan.runtime import find_device


def refine(
    source: Input,
    output: OutputAddress,
    /,
    model: str = DEFAULT_MODEL,
    strength: float = 1.0,
    batch_size: int | None = None,
    device: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    skip_bad: bool = False,
    copy: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    image: str | None = None,
    overwrite: bool = False,
    push_to_hub: str | None = None,
    private: bool = False,
    replace_card: bool = False,
) -> None:
    """Make images look real. Labels, names, formats and bit depths stay; an interrupted run continues where it was.

    Args:
        source: an image, a folder, an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz), a `datasets` data set (folder
            or .parquet), or a folder of archives or of .parquet; on a disk or at an address such as s3:// or hf://.
        output: where the refined ones go; the same kind (an archive may become a folder). JPEG files keep their own
            quality, all other formats are written without loss.
        model: a shipped refiner, a folder, or a Hub id (org/name).
        strength: 0 gives the input back, 1 the refined image.
        batch_size: images that are refined together.
        device: such as cuda:1 or cpu; if not given a GPU where there is one.
        workers: processes that read, refine and write; if not given as many as there are cores, where that takes less
            time.
        ray: address of a Ray cluster that does the work, "auto" for the one that this machine is in, "local" for one
            that is started here. It needs `pip install simgan[ray]`.
        skip_bad: leave broken images out and list them at the end.
        copy: pattern of images that are labels, such as "masks/*": copied as they are. "not:masks/*" are images, though
            they look like labels. May be given several times.
        image: the column of images of a data set that has several.
        overwrite: begin anew where the output exists, or was begun with another input, model or strength.
        push_to_hub: push the refined images, also those of an earlier call, with their labels as a data set to this Hub
            id (org/name).
        private: make a new repository private.
        replace_card: replace a card (README.md) that is there already.
    """
    refiner = Refiner.from_pretrained(model).to(find_device(device))
    place = place_of(output)
    if push_to_hub is not None:
        if is_remote(place):
            raise SourceError(f"{output} cannot be pushed to the Hub from there: give an output on a disk")
        facts = record(refiner, strength, place_of(source), stamps_of(source, copy, image))
        warn_of_refusal(push_to_hub)
    if push_to_hub is not None and not overwrite and is_refined(place, facts):
        print(f"{output} was refined before")
    else:
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "workers": workers,
            "ray": ray,
            "skip_bad": skip_bad,
            "copy": copy,
        }
        options |= {"image": image, "overwrite": overwrite}
        done = refine_path(refiner, source, output, strength=strength, **options)
        already = f", {done.already} were done before" if done.already else ""
        already += f", {done.files} archives and tables were done before" if done.files else ""
        copied = f", {done.copied} other files copied" if done.copied else ""
        print(f"{done.images} images refined into {output}{already}{copied}")
        print_broken(done.broken)
    if push_to_hub is not None:
        note_refined(place, facts)
        try:
            labels = [pattern.removeprefix("./") for pattern in copy if not pattern.startswith(NOT)]
            by, where = describe(refiner, facts), {"private": private or None, "replace_card": replace_card}
            print(push_data(place, push_to_hub, by, leave_out=labels, skip_bad=skip_bad, image=image, **where))
        except PublishError as error:
            raise PublishError(f"{error}; {output} is whole, and the same command pushes it later") from error
