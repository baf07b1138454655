"""What this machine offers: processor, memory, NVIDIA driver. No TensorFlow here."""

import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LINUX_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")  # the last on ARM


class Processor(NamedTuple):
    """Name, cores that this process may use, features, and whether bfloat16 is native."""

    name: str
    cores: int
    features: tuple[str, ...]
    bf16: bool


def detect_processor() -> Processor:
    """Read the processor's name and features (Linux: /proc/cpuinfo; macOS: sysctl)."""
    name, features = platform.processor() or platform.machine(), ()
    if sys.platform == "linux":
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^model name\s*:\s*(.+)", cpuinfo, re.MULTILINE)
        listed = re.search(r"^(?:flags|Features)\s*:(.+)", cpuinfo, re.MULTILINE)
        name = named[1] if named else name
        words = listed[1].split() if listed else ()
        features = tuple(feature for feature in LINUX_FEATURES if feature in words)
    elif sys.platform == "darwin":
        name = run_quietly("sysctl", "-n", "machdep.cpu.brand_string") or name
        words = run_quietly("sysctl", "-n", "machdep.cpu.leaf7_features").lower().split()
        features = tuple(feature for feature in ("avx2", "avx512f") if feature in words)
        if run_quietly("sysctl", "-n", "hw.optional.arm.FEAT_BF16") == "1":
            features += ("bf16",)
    return Processor(name, count_cores(), features, any("bf16" in word for word in features))


def count_cores() -> int:
    """Return the number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only; taskset and containers set it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def measure_memory():
    """Return `(free, total)` memory in bytes, a container's limit included."""
    import psutil

    limit = math.inf
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup 2, cgroup 1
        try:
            limit = min(limit, int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    memory = psutil.virtual_memory()
    return min(memory.available, limit), min(memory.total, limit)


def find_nvidia_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs whose driver is loaded; empty without a driver."""
    listed = run_quietly("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    if not listed and Path("/proc/driver/nvidia/version").exists():
        return ["a GPU that nvidia-smi does not name"]
    return listed.splitlines()


def run_quietly(*command) -> str:
    """Return a command's output, or nothing if it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        return ""
