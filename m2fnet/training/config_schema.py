"""A JSON schema of configuration files, made from the parser that reads them, for editors to check and complete."""

from collections.abc import Mapping
from typing import Any, get_args

from jsonargparse import ArgumentParser
from jsonargparse._completions_jsonschema import ParserJsonschema, anyof_schema  # its public door has no filter
from jsonargparse._typehints import get_all_subclass_paths

from m2fnet.config import is_trusted, trusted_packages

# what a task gives to the network, optimizer or schedule that it makes, so that no file has to
_GIVEN_BY_TASK = ("problem", "params", "optimizer")
_A_NAME = {"type": "string"}  # of a class without settings, or of a file with the settings

Schema = dict[str, Any]


def config_schema(parser: ArgumentParser) -> Schema:
    """The JSON schema (draft 2020-12) of the files that ``parser`` reads.

    A class of a trusted package has its settings listed, and no others are valid; the settings of a user's own class
    are not checked. A group of settings may also be the name of the file that holds it.

    Example:
        >>> parser = ArgumentParser()
        >>> _ = parser.add_argument("--rounds", type=int, default=3)
        >>> config_schema(parser)["properties"]["rounds"]
        {'type': 'integer', 'default': 3}
    """
    made: _TrustedClasses = _TrustedClasses()  # type: ignore[no-untyped-call]
    return made.generate(parser)


def part_of(schema: Mapping[str, Any], name: str) -> Schema:
    """The schema of a file that holds only the group ``name`` of the settings in ``schema``."""
    group: Schema = next(one for one in schema["properties"][name]["anyOf"] if one != _A_NAME)
    return {"$schema": schema["$schema"], **group, "$defs": schema["$defs"]}


class _TrustedClasses(ParserJsonschema):
    """Lists classes that a configuration may name, instead of every class that is imported."""

    def generate(self, parser: ArgumentParser) -> Schema:
        schema: Schema = super().generate(parser)
        groups = {name for name, one in schema["properties"].items() if "properties" in one}
        for name in groups:
            schema["properties"][name] = {"anyOf": [_A_NAME, schema["properties"][name]]}
        return schema

    def subclass_def(self, class_type: type, action: object) -> Schema:
        known = [name for name in get_all_subclass_paths(class_type) if is_trusted(name)]
        ours = "|".join(name.replace(".", r"\.") for name in trusted_packages())
        own = self.unknown_class_path_schema()
        own["properties"]["class_path"] = {"type": "string", "not": {"pattern": rf"^({ours})(\.|$)"}}
        return {"anyOf": [_A_NAME, *(self.class_path_schema(name, action) for name in known), own]}

    def class_path_schema(self, class_path: str, action: object) -> Schema:
        schema: Schema = super().class_path_schema(class_path, action)
        settings = schema["properties"]["init_args"]
        for name in _GIVEN_BY_TASK:
            settings.get("properties", {}).pop(name, None)
        settings["required"] = [name for name in settings.get("required", []) if name not in _GIVEN_BY_TASK]
        schema["required"] = ["class_path", *(["init_args"] if settings["required"] else [])]
        return schema

    def callable_schema(self, typehint: object, action: object) -> Schema:
        """Every class that the callable may make; the library lists none where there are several kinds."""
        made = get_args(typehint)[-1] if get_args(typehint) else None
        kinds = [kind for kind in get_args(made) or (made,) if isinstance(kind, type) and kind.__module__ != "builtins"]
        schema: Schema = anyof_schema([_A_NAME, *(self.class_ref(kind, action, subclass=True) for kind in kinds)])
        return schema
