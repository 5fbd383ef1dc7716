"""A Hugging Face Hub on loopback, for tests that let the real clients talk to a real server.

`huggingface_hub` and `datasets` speak to it unpatched (`HF_ENDPOINT=hub.url`, `HF_HUB_DISABLE_XET=1`): repositories of
all three types, tokens, private and gated repositories, uploads through Git LFS, commits, branches, tags and pull
requests, downloads with ranges, and faults that tests switch on. It needs starlette, uvicorn and PyYAML, nothing else,
and knows nothing of the project that it tests:

    with LoopbackHub(tmp_path) as hub:
        hub.add_user("anna", organizations=["org"])  # her token is hf_anna
        HfApi(endpoint=hub.url, token="hf_anna").create_repo("org/model")
        hub.fail("*/resolve/*", status=503, times=2)  # the next two downloads

Deliberately not here: Xet, git itself, the web pages, discussions, Spaces that run.
"""

from loopback_hub.hub import LoopbackHub, url_of

__all__ = ["LoopbackHub", "url_of"]
