"""The confined renderer against sources that want more than to be rendered."""

from __future__ import annotations

import asyncio
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from tests.contract import rendering

from selfheal.adapters.render import ConfinedRenderer, confine, renderer
from selfheal.domain import errors
from selfheal.remediation.layouts import Root, RootKind

SCRIPT = pathlib.Path(confine.__file__)
WITHOUT_FILTER = SCRIPT.read_text().replace("machine = platform.machine()", "machine = 'pdp11'")


def overlay(**more: object) -> Root:
    return Root(kind=RootKind.KUSTOMIZE, path="app", folders=("app",), **more)  # type: ignore[arg-type]


def chart(**more: object) -> Root:
    return Root(kind=RootKind.HELM, path="app", folders=("app",), release="web", namespace="shop", **more)  # type: ignore[arg-type]


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"


async def refuse(files: dict[str, bytes], root: Root) -> errors.HandOver:
    with pytest.raises(errors.HandOver) as caught:
        await rendering.make_renderer().render(files, root)
    return caught.value


async def test_renders_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files = {"app/kustomization.yaml": b"resources: [c.yaml]\nnamePrefix: x-\n", "app/c.yaml": CONFIG.encode()}
    assert "name: x-c" in await rendering.make_renderer().render(files, overlay())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "reference",
    [
        "https://github.com/kubernetes-sigs/kustomize//examples/helloWorld?ref=v3.3.1",
        "git@github.com:kubernetes-sigs/kustomize.git",
        "ssh://git@127.0.0.1/x.git",
    ],
)
async def test_a_remote_base_is_not_fetched(reference: str) -> None:
    found = await refuse({"app/kustomization.yaml": f"resources: ['{reference}']\n".encode()}, overlay())
    assert found.reason == "RenderFailed"


async def test_no_connection_is_made_even_to_this_machine() -> None:
    """A listening server sees nobody, though the source names it."""
    server = socket.create_server(("127.0.0.1", 0))
    seen: list[object] = []
    threading.Thread(target=lambda: seen.append(server.accept()), daemon=True).start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/c.yaml"
    found = await refuse({"app/kustomization.yaml": f"resources: ['{url}']\n".encode()}, overlay())
    server.close()
    assert "operation not permitted" in found.message
    assert seen == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../../../etc/passwd", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/proc/self/environ"]
)  # fmt: skip
async def test_no_file_outside_is_read(path: str) -> None:
    text = f"configMapGenerator: [{{name: c, files: ['x={path}']}}]\n"
    found = await refuse({"app/kustomization.yaml": text.encode()}, overlay())
    assert found.reason == "RenderFailed"
    assert "root:" not in found.message


@pytest.mark.parametrize("name", ["../x.yaml", "/etc/x.yaml", "app/../../x.yaml", "app//x.yaml", "app/x\0.yaml"])
async def test_a_path_that_leaves_the_folder_is_not_written(name: str) -> None:
    found = await refuse({"app/kustomization.yaml": b"", name: b"a: b"}, overlay(files=(name,)))
    assert (found.reason, "not a path inside the repository" in found.message) == ("RenderFailed", True)


@pytest.mark.parametrize(
    "text",
    [
        "generators: [g.yaml]\n== g.yaml\napiVersion: v1\nkind: X\nmetadata:\n  name: g\n  annotations:\n"
        "    config.kubernetes.io/function: |\n      exec: {path: ./run.sh}\n== run.sh\n#!/bin/sh\ntouch /tmp/selfheal-attack\n",
        "generators: [g.yaml]\n== g.yaml\napiVersion: someteam.example.com/v1\nkind: SillyPlugin\nmetadata: {name: g}\n",
        "transformers:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata:\n    name: g\n    annotations:\n"
        "      config.kubernetes.io/function: 'container: {image: example/x:1}'\n",
        "helmCharts:\n- {name: x, repo: 'https://charts.example', version: 1.0.0}\n",
    ],
)  # fmt: skip
async def test_no_plugin_runs(text: str) -> None:
    first, *rest = text.split("== ")
    files = {"app/kustomization.yaml": f"resources: [c.yaml]\n{first}".encode(), "app/c.yaml": CONFIG.encode()}
    files |= {f"app/{part.partition(chr(10))[0]}": part.partition("\n")[2].encode() for part in rest}
    assert (await refuse(files, overlay())).reason == "RenderFailed"
    assert "selfheal-attack" not in os.listdir("/tmp")


async def test_huge_output_is_cut_off() -> None:
    template = "{{ range until 25000 }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c{{ . }}}\ndata: {x: " + "y" * 200 + "}\n{{ end }}\n"
    files = {"app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n", "app/templates/c.yaml": template.encode()}
    assert (await refuse(files, chart())).reason == "RenderTooLarge"


async def test_memory_is_bounded() -> None:
    files = {
        "app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n",
        "app/templates/c.yaml": b'a: {{ repeat 2000000000 "x" | len }}\n',
    }
    assert (await refuse(files, chart())).reason == "RenderTooLarge"


async def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "SECONDS", 1.0)
    loop = "{{ range until 10000000 }}{{ range until 10000000 }}{{ end }}{{ end }}"
    files = {"app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n", "app/templates/c.yaml": loop.encode()}
    found = await refuse(files, chart())
    assert found.reason == "RenderTooLarge"


async def test_yaml_that_expands_is_refused() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    files = {"app/kustomization.yaml": b"resources: [c.yaml]\n", "app/c.yaml": (CONFIG + "\n".join(lines)).encode()}
    assert (await refuse(files, overlay())).reason in ("RenderFailed", "RenderTooLarge")


async def test_too_much_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "MAX_INPUT", 10)
    assert (await refuse({"app/kustomization.yaml": b"resources: []\n"}, overlay())).reason == "RenderTooLarge"


@pytest.mark.parametrize(
    "call", ['{{ lookup "v1" "Secret" "kube-system" "x" }}', '{{ getHostByName "github.com" }}', '{{ (.Files.Get "../../../etc/passwd") }}']
)  # fmt: skip
async def test_a_template_sees_neither_cluster_nor_network_nor_other_files(call: str) -> None:
    files = {
        "app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n",
        "app/templates/c.yaml": f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{x: '<{call}>'}}\n".encode(),
    }
    text = await rendering.make_renderer().render(files, chart())
    assert "x: '<>'" in text or "x: '<map[]>'" in text


async def test_a_template_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret-token")
    files = {"app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n", "app/templates/c.yaml": b'x: {{ env "GITHUB_TOKEN" }}\n'}
    found = await refuse(files, chart())
    assert 'function "env" not defined' in found.message


@pytest.mark.parametrize("release", ["--post-renderer=/bin/sh", "-f", "a b", "X", ""])
async def test_a_release_name_is_never_an_option(release: str) -> None:
    root = Root(kind=RootKind.HELM, path="-app", folders=("-app",), release=release, namespace="--debug")
    files = {
        "-app/Chart.yaml": b"apiVersion: v2\nname: a\nversion: 1.0.0\n",
        "-app/templates/c.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n",
    }
    assert "name: 'release'" in await rendering.make_renderer().render(files, root)


async def test_a_missing_program_stalls() -> None:
    there = ConfinedRenderer(kustomize=pathlib.Path("/nowhere/kustomize"), helm=pathlib.Path("/nowhere/helm"))
    with pytest.raises(errors.Stalled, match="there is no /nowhere/kustomize") as caught:
        await there.render({"app/kustomization.yaml": b""}, overlay())
    assert caught.value.reason == "RendererMissing"


async def test_confinement_that_fails_stalls_and_renders_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "confine.py"
    await asyncio.to_thread(broken.write_text, WITHOUT_FILTER)
    monkeypatch.setattr(renderer, "_SCRIPT", broken)
    with pytest.raises(errors.Stalled, match="no filter for pdp11") as caught:
        await rendering.make_renderer().render({"app/kustomization.yaml": b"resources: []\n"}, overlay())
    assert caught.value.reason == "RendererNotConfined"


PROBE = """
import ctypes, os, runpy, socket, subprocess, sys, threading
confine = runpy.run_path({script!r})
libc = ctypes.CDLL(None, use_errno=True)
os.chdir({work!r})
preloaded = open({work!r} + "/inside").read()
libc.prctl(38, 1, 0, 0, 0)
confine["limit_resources"]()
landlock = confine["restrict_files"](libc, {work!r}, sys.executable)
confine["refuse_calls"](libc, os.uname().machine)
def attempt(name, call):
    try:
        call()
        print(name, "done")
    except BaseException as error:
        print(name, type(error).__name__)
thread = threading.Thread(target=lambda: None)
thread.start(); thread.join()
print("thread done")
print("landlock", landlock)
attempt("inside", lambda: open({work!r} + "/inside").read())
attempt("tcp", lambda: socket.socket(socket.AF_INET))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("pair", lambda: socket.socketpair())
attempt("fork", os.fork)
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {{}}))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("read", lambda: open("/etc/passwd").read())
attempt("list", lambda: os.listdir("/"))
attempt("write", lambda: open({work!r} + "/new", "w").write("x"))
attempt("symlink", lambda: os.symlink("/etc/passwd", {work!r} + "/link"))
attempt("link", lambda: os.link({work!r} + "/inside", {work!r} + "/hard"))
attempt("mount", lambda: confine["_check"](libc.mount(b"none", b"/mnt", b"tmpfs", 0, None), "mount"))
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("unshare", lambda: confine["_check"](libc.unshare(0x10000000), "unshare"))
attempt("ptrace", lambda: confine["_check"](libc.ptrace(16, os.getppid(), 0, 0), "ptrace"))
"""


def test_what_the_confined_process_may_do(tmp_path: pathlib.Path) -> None:
    (tmp_path / "inside").write_text("x")
    program = PROBE.format(script=str(SCRIPT), work=str(tmp_path))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True, env={})
    said = dict(line.split() for line in done.stdout.splitlines())
    refused = {"tcp", "unix", "pair", "fork", "spawn", "write", "symlink", "link", "mount", "kill", "unshare", "ptrace"}
    if said.pop("landlock") == "True":
        refused |= {"read", "list", "exec"}
    assert {name for name, result in said.items() if result == "PermissionError"} >= refused
    assert (said["thread"], said["inside"]) == ("done", "done")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["inside"]


def test_this_kernel_confines_files_too() -> None:
    """Landlock is there on the machines that this runs on; where it is missing this test says so."""
    libc = confine.ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(444, None, 0, 1)
    if version < 1:
        pytest.skip("no Landlock in this kernel")
    assert version >= 1


def test_filters_of_both_machines_are_whole() -> None:
    for machine in confine.MACHINES:
        program = confine.build_filter(machine)
        assert len(program) % 8 == 0
        assert program[-8:] == confine.struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    assert platform.machine() in confine.MACHINES
