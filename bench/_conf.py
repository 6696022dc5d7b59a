"""Settings of the shipped configurations, for scripts that make a network without the command line."""

from pathlib import Path
from typing import Any

import yaml

from dialog.fusion.relations import Relations

CONF = Path(__file__).parents[1] / "conf"


def m2fnet_settings(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the network and of the optimiser in ``conf/dialog/m2fnet_NAME.yaml``."""
    model = yaml.safe_load((CONF / "dialog" / f"m2fnet_{name}.yaml").read_text(encoding="utf-8"))["model"]
    net = model["net"]["init_args"]
    if "relations" in net:
        net["relations"] = Relations(**net["relations"])
    return net, model["optimizer"]["init_args"]
