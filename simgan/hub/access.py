"""What a connection needs besides a network: a token that may be sent, and proxies that the clients can use."""

import os
import re
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from huggingface_hub import constants, get_session, get_token

from simgan.errors import ConfigError

_LOOPBACK = "localhost,127.0.0.1,::1"
_PLAIN = re.compile(r"(https?://)?[^\s/?#]+/?", re.IGNORECASE)  # an address that every client takes


def check_access(token: str | bool | None) -> None:
    """Raise `ConfigError` where a token (by default that of the login), or a proxy, cannot be used for the Hub."""
    found = get_token() if token in (None, True) else token
    if isinstance(found, str) and not re.fullmatch("[!-~]+", found):
        wrong = "holds a space, a line break, or a letter that no token has" if found else "is empty"
        raise ConfigError(f"the token for the Hub {wrong}: copy it anew to HF_TOKEN or the argument, or leave it out")
    check_proxies(get_session)


def check_proxies(make_client: Callable[[], object]) -> None:
    """Raise `ConfigError` with the names of the variables where no client can be made, as they name an odd proxy."""
    try:
        make_client()
    except Exception as error:  # by client: ValueError, ImportError, InvalidURL
        found = {kind: address for kind, address in getproxies().items() if kind in ("http", "https", "all")}
        if not found or isinstance(error, OSError):
            raise
        odd = [kind for kind, address in found.items() if not _PLAIN.fullmatch(address)]
        raise ConfigError(
            f"{_variables(*odd or found)} must be as http://proxy:8080, or as socks5://proxy:1080 with `pip install "
            "socksio`: change or unset it"
        ) from None  # the address may hold a password


def proxy_of_hub() -> str:
    """Return the environment variable that names the proxy to the Hub, or ""."""
    address, found = urlsplit(constants.ENDPOINT), getproxies()
    kind = address.scheme if address.scheme in found else "all"
    return _variables(kind) if kind in found and not proxy_bypass(address.hostname or "") else ""


def reach_loopback() -> None:
    """Let no proxy stand between this process and its own server; other addresses are reached as before."""
    if proxies := getproxies():
        direct = ",".join(filter(None, [proxies.get("no"), os.environ.get("GRADIO_SERVER_NAME"), _LOOPBACK]))
        system = {} if getproxies_environment() else {f"{kind}_proxy": address for kind, address in proxies.items()}
        os.environ |= system | {"no_proxy": direct, "NO_PROXY": direct}  # variables hide what the system has set


def _variables(*kinds: str) -> str:
    names = [f"{kind}_proxy" for kind in kinds]
    return " and ".join(sorted(name for name in os.environ if name.lower() in names)) or f"the system's {names[0]}"
