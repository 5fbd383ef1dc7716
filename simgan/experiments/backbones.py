"""Networks of timm by their names."""

import torch
from torch import nn

from simgan.errors import ConfigError


def timm_network(name: str, height: int, width: int, *, channels: int, outputs: int, own: str) -> nn.Module:
    """Return a network of timm with random weights, from (B, channels, height, width) to (B, outputs).

    `ConfigError` where timm or that network is not there, or does not take the size; `own` names the network of simgan.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter where torchvision was built for another torch
        raise ConfigError(f"timm, for the backbone {name}, is not there ({error}): install simgan[timm]") from error
    if not timm.is_model(name):
        raise ConfigError(f"timm has no network {name!r}: choose one of timm.list_models(), or the backbone {own}")
    network: nn.Module = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=outputs)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, channels, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"timm's {name} does not take crops of {width}×{height} pixels ({error})") from error
    return network
