"""Evidence that the real adapter took from real faults on the local cluster (``real/``), and its findings.

Each file of ``real/`` is one bundle as it is stored, without what no rule reads (addresses, digests, nodes). The
manifests that were applied are in ``real/sources/``; ``second-revision.yaml`` changed what had been well before.
"""

from __future__ import annotations

import json
import pathlib

import pytest

from selfheal.diagnosis import registry
from selfheal.diagnosis.evidence import Bundle
from selfheal.engine import documents

REAL = pathlib.Path(__file__).parent / "real"


def load(name: str) -> Bundle:
    return documents.bundle_from_json(json.loads((REAL / f"{name}.json").read_text()))


@pytest.mark.parametrize(
    ("name", "class_", "fault", "container", "words"),
    [
        ("badcmd", "CrashLoopBackOff", "BadCommand", "app", "image does not have: pyhton3"),
        ("badfile", "CrashLoopBackOff", "MissingCommand", "app", "/code/confg.yaml"),
        ("barepod", "HighRestartCount", "Application", "app", "nil pointer dereference"),
        ("cfgmiss", "MissingReference", "MissingObject", "app", "ConfigMap app-setings is missing"),
        ("cronfail", "JobFailed", "MissingFile", "work", "/data/input.csv"),
        ("dscmd", "CrashLoopBackOff", "BadArgument", "app", "args of app changed from 3600 to forever"),
        ("envfrom", "MissingReference", "MissingObject", "app", "Secret nowhere is missing"),
        ("execprobe", "FailedHealthCheck", "Command", "app", "/tmp/healthy is what the container has"),
        ("hostslip", "InitContainerFailed", "UnknownHost", "wait-db", "databse"),
        ("initcmd", "InitContainerFailed", "BadCommand", "prep", "slep"),
        ("initfail", "InitContainerFailed", "UnknownHost", "wait-db", "databse"),
        ("jobdeadline", "JobFailed", "DeadlineExceeded", None, "activeDeadlineSeconds of 8"),
        ("jobfail", "JobFailed", "MissingVariable", "work", "INPUT_BUCKET"),
        ("jobslip", "JobFailed", "BackoffLimitExceeded", None, "backoffLimit is 1"),
        ("jvmenv", "JavaOutOfMemory", "Heap", "server", "-Xmx100m within its limit of 160Mi"),
        ("keymiss", "MissingReference", "MissingKey", "app", "has a key log-level"),
        ("livepath", "FailedHealthCheck", "Port", "web", "80 is right"),
        ("namedport", "FailedHealthCheck", "Port", "app", "http is right"),
        ("nginxconf", "CrashLoopBackOff", "BadConfiguration", "web", 'unknown directive "lisen"'),
        ("noaccount", "MissingReference", "MissingObject", None, "ServiceAccount reader-bot"),
        ("nonroot", "CrashLoopBackOff", "RunAsNonRoot", "app", "runs as root"),
        ("secvol", "MissingReference", "MissingKey", None, "Secret app-credential"),
        ("sidecar", "CrashLoopBackOff", "MissingVariable", "logship", "Container logship"),
        ("slowboot", "CrashLoopBackOff", "SlowStart", "app", "it allows 11 s for a slow start"),
        ("small", "InsufficientMemory", "BelowMinimum", None, "minimum memory usage"),
        ("bare", "InsufficientMemory", "Unstated", None, "must specify limits.memory"),
        ("startprobe", "CrashLoopBackOff", "SlowStart", "app", "startupProbe kills"),
        ("stsenv", "CrashLoopBackOff", "MissingVariable", "app", "env.BUCKET of app was removed"),
        ("stuckcmd", "CrashLoopBackOff", "MissingCommand", "app", "Since revision 2: command of app changed"),
        ("stuckenv", "StuckRollout", "ProgressDeadlineExceeded", "app", "env.MODE of app changed from fast to fats"),
        ("stuckprobe", "StuckRollout", "ProgressDeadlineExceeded", "app", "revision 1 is still well"),
        ("timing", "FailedHealthCheck", "Timing", "app", "seen to answer after 2.1 s"),
        ("varmap", "CrashLoopBackOff", "MissingVariable", "app", "LISTEN_PORT"),
        ("varslip", "CrashLoopBackOff", "MissingVariable", "app", "QUEUE_URL"),
    ],
)
def test_what_the_real_cluster_showed(name: str, class_: str, fault: str, container: str | None, words: str) -> None:
    bundle = load(name)
    found = registry.diagnose(bundle)
    first = found[0]
    assert (first.class_.value, first.parameters["fault"], first.container) == (class_, fault, container)
    assert words in first.cause
    assert first.confidence >= 0.6
    known = {item.id for item in bundle.items}
    assert all(finding.evidence and set(finding.evidence) <= known for finding in found)
    assert len({(finding.class_, finding.container) for finding in found}) == len(found), "one finding for a cause"
    assert registry.is_failing(bundle)


def test_scaled_to_zero_is_no_fault() -> None:
    assert registry.diagnose(load("zero")) == []
    assert not registry.is_failing(load("zero"))


def test_every_bundle_is_looked_at() -> None:
    source = pathlib.Path(__file__).read_text()
    assert [path.stem for path in REAL.glob("*.json") if f'"{path.stem}"' not in source] == []
