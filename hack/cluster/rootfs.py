"""Root file systems as layer tars: a Debian base by debootstrap, packages as overlays on it, tiny trees."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hack.cluster import config, ui

SUITE = "bookworm"
LOG = config.CACHE / "images" / "build.log"
_BASE = config.CACHE / "images" / f"rootfs-{SUITE}"
_EXCLUDED = (
    "./proc/*",
    "./sys/*",
    "./dev/*",
    "./run/*",
    "./tmp/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*.log",
    "./var/log/apt",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "./usr/sbin/policy-rc.d",
    "./etc/resolv.conf",
    "./etc/hostname",
)

_PAUSE = """
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int s) { exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main() {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""

# The mounts live in a mount namespace of their own: they are gone when the script is, however it ends.
_INSTALL = """set -eu
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$WORK/upper,workdir=$WORK/overlay" "$WORK/merged"
mount -t proc proc "$WORK/merged/proc"
cp -L /etc/resolv.conf "$WORK/merged/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$WORK/merged/usr/sbin/policy-rc.d"
chmod 755 "$WORK/merged/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ -n "$PACKAGES" ]; then
  chroot "$WORK/merged" apt-get install -y -q --no-install-recommends $PACKAGES
fi
if [ -n "$SCRIPT" ]; then
  chroot "$WORK/merged" sh -euc "$SCRIPT"
fi
"""


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder in the cache (the same file system as the base, which overlays want)."""
    folder = config.CACHE / "images"
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="work-", dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def version(tree: str) -> str:
    """What outside the recipe decides a tree's content."""
    if tree == "go":
        return ui.run(["go", "env", "GOVERSION"]).strip()
    return hashlib.sha256(_PAUSE.encode()).hexdigest()[:8] if tree == "pause" else ""


def base() -> Path:
    """The Debian base's folder, made on first use."""
    if _BASE.is_dir():
        return _BASE
    part = _BASE.with_suffix(".part")
    if part.exists():
        shutil.rmtree(part)
    ui.say("debootstrap: the Debian base, once (about half a minute)")
    mirror = _mirror()
    ui.run(
        ["debootstrap", "--variant=minbase", SUITE, part, *([mirror] if mirror else [])], log=LOG
    )
    ui.run(["chroot", part, "apt-get", "update", "-q"], log=LOG)
    part.rename(_BASE)
    return _BASE


def _mirror() -> str:
    """This machine's own Debian mirror, from apt's settings; empty (debootstrap's default) if it has none."""
    lines = ui.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(CODENAME) $(LABEL)",
            "Identifier: Packages",
        ],
        check=False,
    ).splitlines()
    return next((line.split()[0] for line in lines if line.split()[1:] == [SUITE, "Debian"]), "")


def base_layer() -> Path:
    """The base as a layer tar, kept."""
    path = _BASE.with_suffix(".tar")
    folder = base()
    if not path.exists():
        part = path.with_suffix(".tar.part")
        _tar(folder, part)
        part.rename(path)
    return path


def install(work: Path, packages: tuple[str, ...], script: str) -> Path:
    """Packages and a script's changes on the base, as a layer of their own."""
    folder = base()
    for name in ("upper", "overlay", "merged"):
        (work / name).mkdir()
    env = {"BASE": str(folder), "WORK": str(work), "PACKAGES": " ".join(packages), "SCRIPT": script}
    ui.run(
        ["nice", "-n", "5", "unshare", "--mount", "--propagation", "private", "sh", "-c", _INSTALL],
        log=LOG,
        env=env,
    )
    _whiteouts(work / "upper")
    return _tar(work / "upper", work / "install.tar")


def _whiteouts(upper: Path) -> None:
    """Write deletions as OCI layers do: overlayfs marks them by character devices 0/0."""
    for folder, _, files in os.walk(upper):
        for name in files:
            path = Path(folder, name)
            found = path.lstat()
            if (found.st_mode & 0o170000) == 0o020000 and found.st_rdev == 0:
                path.unlink()
                path.with_name(f".wh.{name}").touch()


def _tar(folder: Path, target: Path, *more: str) -> Path:
    excludes = [f"--exclude={pattern}" for pattern in _EXCLUDED]
    ui.run(
        ["tar", "-C", folder, "--numeric-owner", "--xattrs", *excludes, *more, "-cf", target, "."],
        log=LOG,
    )
    return target


def pause(work: Path) -> Path:
    """The program that holds a pod's namespaces."""
    (work / "pause").mkdir()
    (work / "pause.c").write_text(_PAUSE)
    ui.run(["gcc", "-static", "-Os", "-s", "-o", work / "pause/pause", work / "pause.c"], log=LOG)
    return _tar(work / "pause", work / "pause.tar")


def busybox(work: Path) -> Path:
    """A static busybox with all its applets."""
    top = work / "busybox"
    for name in ("bin", "etc", "proc", "sys", "dev", "var", "root", "home", "usr/bin", "tmp"):
        (top / name).mkdir(parents=True)
    (top / "tmp").chmod(0o1777)
    shutil.copy2("/bin/busybox", top / "bin/busybox")
    for applet in ui.run(["/bin/busybox", "--list"]).split():
        if not (top / "bin" / applet).exists():
            (top / "bin" / applet).symlink_to("busybox")
    (top / "usr/bin/env").symlink_to("/bin/busybox")
    (top / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    )
    (top / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    return _tar(top, work / "busybox.tar")


def go(work: Path) -> Path:
    """This machine's Go under /usr/local/go, as in the public image."""
    root = Path(ui.run(["go", "env", "GOROOT"]).strip())
    target = work / "go.tar"
    (work / "go/go").mkdir(parents=True)
    (work / "go/usr/local").mkdir(parents=True)
    ui.run(["tar", "-C", work / "go", "-cf", target, "."], log=LOG)
    ui.run(
        ["tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "--exclude=./test", "--exclude=./api",
         "--transform", "s,^\\.,./usr/local/go,S", "-rf", target, "."],
        log=LOG,
    )  # fmt: skip
    return target


TREES: dict[str, Callable[[Path], Path]] = {"pause": pause, "busybox": busybox, "go": go}
