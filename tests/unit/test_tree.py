"""The shape of the tree: what must be there, what must not, and how long a module may be."""

from __future__ import annotations

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONGEST = 330
DECLARATIONS = {
    "operator/selfheal/api/incident.py": 470,
    "operator/selfheal/api/policy.py": 570,
    "operator/selfheal/domain/facts.py": 370,
    "operator/selfheal/ports.py": 500,
}
"""Lists of fields and protocols without behaviour, with their own bound."""
HOSTS = ["pypi" + ".org", "proxy.golang" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org"]


def tracked() -> list[pathlib.Path]:
    """Return the files that git knows, and that are there."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_the_standard_librarys_operator_is_not_shadowed() -> None:
    assert not (ROOT / "operator/__init__.py").exists()


def test_the_top_level_is_as_ordered() -> None:
    wanted = ["pyproject.toml", "operator", "crds", "manifests", "tests", "Dockerfile", "README.md"]
    wanted += ["CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci/run"]
    assert [name for name in wanted if not (ROOT / name).exists()] == []


def test_no_file_names_a_registry_host() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked()
        for host in HOSTS
        if host.encode() in path.read_bytes()
    ]
    assert found == []


def test_no_module_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "operator").rglob("*.py")
    }
    assert len(lengths) > 100
    assert {p: n for p, n in lengths.items() if n > DECLARATIONS.get(p, LONGEST)} == {}


def test_commands_of_the_readme_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", makefile))
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert "demo" in named
    assert named <= targets


def test_what_the_makefile_runs_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    scripts = set(re.findall(r"\b(hack/\w+\.py)", makefile))
    packages = set(re.findall(r"-m (hack\.\w+)", makefile))
    assert scripts
    assert packages
    missing = [name for name in scripts if not (ROOT / name).is_file()]
    missing += [name for name in packages if not (ROOT / name.replace(".", "/")).is_dir()]
    assert missing == []
