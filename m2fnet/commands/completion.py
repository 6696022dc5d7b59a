"""``m2fnet completion SHELL``: Tab completes commands, options, settings and shipped configurations.

A shell asks this program for the words at every Tab, so nothing slow is imported: the options are in a table, which
``python docs/commands.py`` makes from the help of all commands.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from m2fnet.commands.arguments import make_parser

TABLE = "completion.json"
# option or command -> folders of conf/ whose files are offered
_CONFIGS = {
    "--trainer": ("trainer",),
    "--data": ("data",),
    "extractor": ("extractors",),
    "joint": ("joint",),
    "extract": ("extractors",),
    "self-train": ("self_training",),
    "sweep": ("dialog", "extractors", "joint"),
}

SCRIPTS = {
    "bash": """\
_m2fnet() {
    local IFS=$'\\n'
    COMPREPLY=($(m2fnet completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _m2fnet m2fnet
""",
    "zsh": """\
#compdef m2fnet
_m2fnet() {
    local -a found
    found=("${(@f)$(m2fnet completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found[1] ]]; then compadd -- "${found[@]}"; else _files; fi
}
if [[ $funcstack[1] == _m2fnet ]]; then _m2fnet "$@"; else compdef _m2fnet m2fnet; fi
""",
    "fish": """\
function __m2fnet_words
    set -l typed (commandline -opc) (commandline -ct)
    set -l found (m2fnet completion words -- $typed[2..] 2>/dev/null)
    or return
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c m2fnet -f -a '(__m2fnet_words)'
""",
}


def main(argv: list[str]) -> None:
    """Print the script of a shell, or the words that may come next."""
    if argv[:2] == ["words", "--"]:  # what the scripts ask
        sys.stdout.writelines(f"{word}\n" for word in words(argv[2:]))
        return
    parser = make_parser(
        "completion",
        "Print a script that lets a shell complete what you type: commands, options, the settings of dialogue networks "
        "and extractors, the shipped configurations, and files elsewhere. It takes 0.1 s a Tab, since no library is "
        "imported.",
        examples=[
            'eval "$(m2fnet completion bash)"      # in ~/.bashrc',
            'eval "$(m2fnet completion zsh)"       # in ~/.zshrc, after compinit',
            "m2fnet completion fish | source      # in ~/.config/fish/config.fish",
        ],
    )
    parser.add_argument("shell", choices=SCRIPTS, help="your shell; `echo $0` names it")
    print(SCRIPTS[parser.parse_args(argv).shell], end="")


def words(typed: Sequence[str]) -> list[str]:
    """The possible last words of ``typed``, the others being complete; none where a file is expected.

    Example:
        >>> words(["dial"])
        ['dialog']
        >>> words(["dialog", "fit", "--model.net.fusion_l"])
        ['--model.net.fusion_layers']
        >>> words(["iemocap", "fit", ""])
        []
    """
    *before, begun = typed or [""]
    return [word for word in _candidates(before, begun) if word.startswith(begun)]


def _candidates(before: Sequence[str], begun: str) -> Iterator[str]:
    table = json.loads(files("m2fnet.commands").joinpath(TABLE).read_text(encoding="utf-8"))
    if not before:
        yield from (*table["commands"], "--help", "--version")
        return
    command, *others = before
    parts: dict[str, dict[str, Any]] = table["commands"].get(command, {})
    part = next((word for word in others if word in parts), "")
    # option -> its choices; an empty list for a flag, None for a value of any kind
    options = {**parts.get("", {}), **parts.get(part, {})}
    last = before[-1]
    if last in options and options[last] != []:
        yield from options[last] or _configs(last, command, table["settings"])
    elif begun.startswith("-"):
        yield from options
        shown = [word for word in others if word in table["settings"]] or [table["examples"].get(command)]
        yield from table["settings"].get(shown[0], ())
    elif not part:
        yield from filter(None, parts)


def _configs(option: str, command: str, shipped: Sequence[str]) -> Iterator[str]:
    """The shipped configurations that ``option`` may name."""
    if option in ("--config", "--trainer", "--data"):
        folders = _CONFIGS.get(option) or _CONFIGS.get(command, ("dialog",))
        yield from (name for name in shipped if name.split("/")[1] in folders)
