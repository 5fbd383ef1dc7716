"""The commands `simgan push`, `simgan space push` and `simgan space build`."""

from typing import Annotated, Any

import tyro

from simgan.cli.arguments import Output, Repository
from simgan.hub.loading import ONNX
from simgan.hub.push import push_model
from simgan.refiner import Refiner


def push(
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    repository: Repository,
    /,
    revision: str | None = None,
    create_pr: bool = False,
    private: bool = False,
    replace_card: bool = False,
    onnx: bool = False,
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
        onnx: also the refiner as `model.onnx`, which a browser can load; without it one that is there is deleted.
        token: of the Hub; if not given HF_TOKEN, or that of `hf auth login`.
    """
    where: dict[str, Any] = {"revision": revision, "create_pr": create_pr, "private": private or None, "token": token}
    more = {ONNX: Refiner.from_pretrained(run).export("onnx")} if onnx else {}
    print(push_model(run, repository, files=more, replace_card=replace_card, **where))


def push_space(
    repository: Repository,
    /,
    models: tuple[str, ...] = (),
    static: bool = False,
    private: bool = False,
    token: str | None = None,
) -> None:
    """Push the demo as a Space of your own: app.py, this package, and what it needs. Again: only changes.

    Args:
        repository: org/name; made if it does not exist.
        models: Hub ids that the Space offers; with --static the models in it, also shipped ones and folders.
        static: a Space without a server: its page refines in the visitor's browser. Needs npm and simgan[onnx].
        private: make a new Space private.
        token: of the Hub; if not given HF_TOKEN, or that of `hf auth login`.
    """
    from simgan.space.push import push_space  # needs Gradio

    print(push_space(repository, models=models, static=static, private=private or None, token=token))


def build_space(output: Output, /, models: tuple[str, ...] = ()) -> None:
    """Write the page of `simgan space push --static` to a folder, which any web server can serve.

    It needs npm, simgan[onnx], and to try it `python -m http.server --directory OUT`.

    Args:
        output: a new folder.
        models: shipped ones, folders of runs, or Hub ids; if not given all shipped ones.
    """
    from simgan.space.static_site import build_site

    build_site(output, models)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    print(f"{output}: {size / 1e6:.0f} MB; to see it: python -m http.server --directory {output}")
