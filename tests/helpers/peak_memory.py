"""Code for a child process that measures its own memory."""

PEAK = """
from pathlib import Path

def peak():  # MiB; getrusage would count what the process that started this one held
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
"""
