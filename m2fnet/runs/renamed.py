"""Settings that were renamed: the configuration of a run made before is read with the names of today."""

from collections.abc import Mapping

# dotted key before -> now
RENAMED = {"model.literal": "model.as_printed", "model.monitor": "model.scorer", "data.modalities": "data.streams"}


def with_current_names(settings: Mapping[str, object]) -> dict[str, object]:
    """The ``settings`` of a run or a configuration file, with every renamed key under its name of today.

    A key that is there under both names keeps both, so that a parser refuses the old one.

    Example:
        >>> with_current_names({"seed_everything": 1, "model": {"literal": ["triplet"], "warmup": 0.1}})
        {'seed_everything': 1, 'model': {'as_printed': ['triplet'], 'warmup': 0.1}}
    """
    return _renamed(settings, "")


def _renamed(settings: Mapping[str, object], prefix: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in settings.items():
        key = f"{prefix}{name}"
        now = RENAMED.get(key, key).rpartition(".")[2]
        found[name if now in settings else now] = _renamed(value, f"{key}.") if isinstance(value, dict) else value
    return found
