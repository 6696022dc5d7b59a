"""An extractor by what a configuration says of it: the name of its class, and its settings."""

from collections.abc import Mapping
from typing import TypedDict

from jsonargparse import ArgumentError, ArgumentParser

from extractors.base import Extractor
from m2fnet.config import named_class, one_sentence
from m2fnet.errors import UsageError

WHERE = "model.net"


class NetSettings(TypedDict):
    """The part ``model.net`` of a configuration.

    Attributes:
        class_path: dotted name of the extractor's class.
        init_args: arguments of its constructor, in plain values.
    """

    class_path: str
    init_args: dict[str, object]


def extractor_class(class_path: str, where: str = WHERE) -> type[Extractor]:
    """The class named ``class_path``.

    Example:
        >>> extractor_class("extractors.text.lsa.LSA").modality
        'text'

    Raises:
        UsageError: if it is not trusted, cannot be imported or is not an extractor.
    """
    # abstract, which `type[Extractor]` may not be for mypy
    return named_class(class_path, Extractor, f"{where}.class_path")  # type: ignore[type-abstract]


def build(class_path: str, init_args: Mapping[str, object], where: str = WHERE) -> Extractor:
    """The extractor with these settings, untrained.

    Args:
        class_path: dotted name of its class.
        init_args: arguments of its constructor in plain values, as they are in a configuration file.
        where: the settings are from; errors name it.

    Example:
        >>> build("extractors.text.lsa.LSA", {"width": 8, "words": [1, 2]}).width
        8

    Raises:
        UsageError: if the class is not trusted or no extractor, or refuses the settings.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(extractor_class(class_path, where), "init_args")
    try:
        extractor: Extractor = parser.instantiate(parser.parse_object({"init_args": dict(init_args)})).init_args
    except (ArgumentError, ValueError) as problem:
        raise UsageError(f"{where}.init_args: {one_sentence(str(problem))}") from problem
    return extractor
