"""What others show of a link to the Space: its title, a description, and a picture, which the Space serves itself.

The page of Gradio says "Gradio" there, and names a picture of another host. Who makes such previews runs no JavaScript,
so the page is rewritten before it is sent.
"""

import html
import io
import os
import re
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simgan.space.models import Model
from simgan.space.samples import examples

PICTURE = "preview.png"
SIZE = (1200, 630)  # pixels, which all that show previews take
_SHOWN = 2  # images of each domain
_MARGIN, _GAP, _WORDS = 30, 10, 50  # pixels: round the picture, between images, and above a row of them
_OTHERS = re.compile(rb"<meta\s+(property=\"og:|name=\"(twitter:|description\"))[^>]*>")


class Preview:
    """ASGI middleware in front of Gradio that serves the picture, and names it at the head of the page."""

    def __init__(self, app: ASGIApp, title: str, description: str, picture: bytes) -> None:
        self.app, self.title, self.description, self.picture = app, title, description, picture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the picture, or pass a request on, and rewrite the page that is its answer."""
        if scope["type"] != "http" or scope["path"] not in ("/", f"/{PICTURE}"):
            return await self.app(scope, receive, send)
        if scope["path"] == f"/{PICTURE}":
            return await Response(self.picture, media_type="image/png")(scope, receive, send)
        head, body = self._head(Request(scope)), b""
        start: Message = {}

        async def rewritten(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=[*start["headers"]])
            if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                body = _OTHERS.sub(b"", body).replace(b"<head>", b"<head>" + head, 1)
                headers["content-length"] = str(len(body))
            await send({**start, "headers": headers.raw})
            await send({**message, "body": body})

        return await self.app(scope, receive, rewritten)

    def _head(self, request: Request) -> bytes:
        url = f"https://{host}/" if (host := os.environ.get("SPACE_HOST")) else str(request.base_url)
        named = {"title": self.title, "description": self.description, "image": url + PICTURE}
        metas = {'name="description"': self.description, 'property="og:type"': "website", 'property="og:url"': url}
        metas |= {f'property="og:{key}"': value for key, value in named.items()}
        metas |= {f'name="twitter:{key}"': value for key, value in named.items()}
        metas['name="twitter:card"'] = "summary_large_image"
        head = f"<title>{html.escape(self.title)}</title>"
        head += "".join(f'<meta {key} content="{html.escape(value)}">' for key, value in metas.items())
        return head.encode()


def draw_picture(title: str, domains: Mapping[str, Model]) -> bytes:
    """Return a PNG of `SIZE`: the title, a row of renders of each domain, and below it the same refined."""
    columns = []
    for domain, model in domains.items():
        for path in examples(domain)[:_SHOWN]:
            stored = model.refiner.codec.check(Image.open(path))
            columns.append(model.refiner.codec.show(stored, model.refiner.refine(stored)))
    sheet = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((SIZE[0] / 2, 40), title, "black", ImageFont.load_default(52), anchor="mt")
    shapes = [before.shape[1] / before.shape[0] for before, _ in columns]
    height = min(
        int((SIZE[0] - 2 * _MARGIN - _GAP * (len(columns) - 1)) / sum(shapes)),  # all of them side by side
        (SIZE[1] - 80 - 2 * (_MARGIN + _WORDS)) // 2,
    )
    for row, (told, colour) in enumerate((("as rendered", "#475569"), ("refined", "#1d4ed8"))):
        top = SIZE[1] - _MARGIN - height - (1 - row) * (height + _WORDS)
        left = (SIZE[0] - sum(round(shape * height) + _GAP for shape in shapes) + _GAP) // 2
        pen.text((left, top - 8), told, colour, ImageFont.load_default(30), anchor="lb")
        for shape, pair in zip(shapes, columns, strict=True):
            size = (round(shape * height), height)
            sheet.paste(Image.fromarray(pair[row]).resize(size, Image.Resampling.BICUBIC), (left, top))
            left += size[0] + _GAP
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
