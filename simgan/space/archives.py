"""Which images of an archive can be refined, and what is wrong with each of the others."""

import zipfile
from pathlib import Path

from simgan.errors import ImageError, SourceError
from simgan.images.files import pictures
from simgan.space import uploads

Images = dict[str, int]  # names in the archive, and numbers of pixels


def sift(file: Path, name: str) -> tuple[Images, dict[str, str]]:
    """Return the images of a ZIP, and what is wrong with those that cannot be read or are too large.

    What is unsafe about the archive as a whole raises `SourceError`, or `ImageError` where it is too long.
    """
    try:
        return uploads.check_archive(file, name), {}
    except ImageError:  # of one image, after all that is unsafe was ruled out; or of the size of the archive
        uploads.check_bytes(file.stat().st_size, uploads.UPLOAD_BYTES, name)
    images, wrong = {}, {}
    with zipfile.ZipFile(file) as archive:
        for image in pictures(archive.namelist()):
            try:
                with archive.open(image) as member:
                    images[image] = uploads.count_pixels(member, f"{image} in {name}")
            except ImageError as error:
                wrong[image] = str(error)
    if not images:
        raise SourceError(next(iter(wrong.values())))
    return images, wrong
