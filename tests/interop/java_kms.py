# SPDX-License-Identifier: Apache-2.0
"""The real Java KMS, as programs here start it."""
from __future__ import annotations

import subprocess
from pathlib import Path

from harness import die_with_parent

PROGRAM = Path(__file__).resolve().parent / "java-kms"


def start(conf: Path, port: int, *more: object) -> subprocess.Popen:
    """On conf, which is filled where it is empty; it answers. more are arguments of java-kms."""
    conf.mkdir(exist_ok=True)
    process = subprocess.Popen([PROGRAM, "--conf", conf, "--init", "--port", str(port), *map(str, more)],
                               stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("KMS ready"):
            return process
    raise AssertionError("the Java KMS did not start")
