"""What every benchmark shares: its arguments, its table and its JSON file."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from m2fnet.formatting import terminal_table


@dataclass(frozen=True)
class Row:
    """One measured figure, with or without the one it is compared with."""

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    larger_is_better: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times better ours is (above 1: better); None without a baseline or where it is undefined."""
        if self.baseline is None:
            return None
        better, worse = (self.ours, self.baseline) if self.larger_is_better else (self.baseline, self.ours)
        return better / worse if worse else None


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments of a benchmark: ``--quick`` and ``--json FILE``."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help="smaller sizes, under a minute")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return arguments


def finish(rows: Sequence[Row], args: argparse.Namespace) -> None:
    """Print ``rows`` as a table and write them to ``args.json`` if it is given, with the machine they are from."""
    found = [{"name": r.name, "unit": r.unit, "ours": r.ours, "baseline": r.baseline, "ratio": r.ratio} for r in rows]
    table = pd.DataFrame(found)
    for column in ("ours", "baseline", "ratio"):
        table[column] = [_figure(value) for value in table[column]]
    print(terminal_table(table.rename(columns={"name": ""})))
    here = machine()
    print(f"{here['processor']}, {here['cores']} cores, torch {here['torch']} with {here['threads']} threads")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": here, "rows": found}, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, str | int]:
    """What figures depend on: the processor with the widest instructions it has, cores, threads, version of torch."""
    facts = _processor_facts()
    has = set(facts.get("flags", "").split())
    widest = next((name for name in ("amx_bf16", "avx512f", "avx2") if name in has), "no AVX2")
    return {
        "processor": f"{facts.get('model name') or platform.processor() or platform.machine()} ({widest})",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor_facts() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _figure(value: float | None) -> str | None:
    if value is None or pd.isna(value):
        return None
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
