"""Stack traces of four languages, as programs really print them."""

from __future__ import annotations

import pytest

from selfheal.diagnosis import traces

PYTHON = """\
orders: started
Traceback (most recent call last):
  File "/app/orders/main.py", line 31, in <module>
    serve()
  File "/app/orders/price.py", line 12, in total
    return sum(prices) / len(prices)
           ~~~~~~~~~~~~^~~~~~~~~~~~
ZeroDivisionError: division by zero
"""
CHAINED = """\
Traceback (most recent call last):
  File "/app/a.py", line 1, in read
    return settings["url"]
KeyError: 'url'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/b.py", line 9, in start
    raise shop.SettingsError("no url") from None
shop.SettingsError: no url
"""
JAVA = """\
2026-11-23 10:00:00 INFO starting
Exception in thread "main" java.lang.IllegalStateException: cannot price order 17
\tat com.acme.orders.Pricing.total(Pricing.java:42)
\tat com.acme.orders.Main.main(Main.java:11)
Caused by: java.lang.NullPointerException: Cannot invoke "Item.price()"
\tat com.acme.orders.Item$Line.price(Item.java:7)
\tat java.base/java.util.stream.ReduceOps.reduce(ReduceOps.java:5)
\t... 1 more
"""
NODE = """\
/app/src/price.js:3
    return items.reduce((a, b) => a + b.price, 0);
                 ^

TypeError: Cannot read properties of undefined (reading 'reduce')
    at total (/app/src/price.js:3:18)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
    at async Server.<anonymous> (/app/src/server.js:12:20)

Node.js v20.1.0
"""
GO = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2c5]

goroutine 1 [running]:
main.(*Book).Match(0x0, 0xc0000b)
\t/src/book/book.go:12 +0x1d
main.main()
\t/src/main.go:20 +0x9a
exit status 2
"""


@pytest.mark.parametrize(
    ("text", "language", "error", "frames"),
    [
        (PYTHON, "Python", "ZeroDivisionError: division by zero", [("/app/orders/price.py", 12, "total"), ("/app/orders/main.py", 31, "<module>")]),
        (CHAINED, "Python", "shop.SettingsError: no url", [("/app/b.py", 9, "start")]),
        (JAVA, "Java", 'java.lang.NullPointerException: Cannot invoke "Item.price()"', [("com/acme/orders/Item.java", 7, "price")]),
        (NODE, "Node", "TypeError: Cannot read properties of undefined (reading 'reduce')", [("/app/src/price.js", 3, "total"), ("/app/src/server.js", 12, "Server.<anonymous>")]),
        (GO, "Go", "panic: runtime error: invalid memory address or nil pointer dereference", [("/src/book/book.go", 12, ""), ("/src/main.go", 20, "")]),
    ],
)
def test_a_trace_says_where_a_program_died(text: str, language: str, error: str, frames: list[tuple[str, int, str]]) -> None:
    found = traces.find(text)
    assert found is not None
    assert (found.language, found.error) == (language, error)
    assert [(frame.path, frame.line, frame.function) for frame in found.frames][: len(frames)] == frames


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: it went wrong\nbut nothing tells where",
        "Traceback (most recent call last):\n  File \"/app/a.py\", line 1",
        "Traceback (most recent call last):\n  File \"/app/a.py\", line 1\n!! cut off by the next log line",
        "panic: at the disco\nno stack here",
        "java.lang.Foo is loaded",
    ],
)
def test_what_is_no_whole_trace_says_nothing(text: str) -> None:
    assert traces.find(text) is None


def test_the_last_trace_counts_and_recursion_is_bounded() -> None:
    frame = '  File "/app/a.py", line 3, in again\n'
    deep = f"Traceback (most recent call last):\n{frame * 500}RecursionError: maximum recursion depth exceeded\n"
    found = traces.find(PYTHON + deep)
    assert found is not None
    assert (found.error[:14], len(found.frames)) == ("RecursionError", traces.MOST)
    node = "Error: x\n" + "    at f (/app/x.js:1:1)\n" * 500
    found = traces.find(node)
    assert found is not None
    assert len(found.frames) == traces.MOST


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("/usr/local/lib/python3.12/site-packages/flask/app.py", True), ("/app/node_modules/x/y.js", True),
        ("java/util/List.java", True), ("/usr/local/go/src/net/http/server.go", True), ("<string>", True),
        ("/usr/lib/python3.12/json/decoder.py", True), ("/app/orders/price.py", False), ("com/acme/X.java", False),
    ],
)  # fmt: skip
def test_libraries_are_told_from_the_application(path: str, library: bool) -> None:
    assert traces.Frame(path, 1).is_library is library


BETWEEN = """\
Traceback (most recent call last):
  File "/srv/app/main.py", line 8, in <module>
    print("orders: the mean price is", price.mean(cart))
orders: the mean price is 3.0
INFO: served
  File "/srv/app/price.py", line 6, in mean
    return sum(prices) / len(prices)
ZeroDivisionError: division by zero
"""


def test_lines_of_standard_output_within_a_trace_do_not_end_it() -> None:
    """Two pipes, copied side by side by the runtime: seen on the cluster."""
    found = traces.find(BETWEEN)
    assert found is not None
    assert found.error == "ZeroDivisionError: division by zero"
    assert [frame.line for frame in found.frames] == [6, 8]
    assert traces.find(BETWEEN.replace("INFO: served\n", "INFO: served\n" * 3)) is None


def test_errors_of_modules_may_be_lower_case() -> None:
    found = traces.find(BETWEEN.replace("ZeroDivisionError", "zlib.error"))
    assert found is not None
    assert found.error == "zlib.error: division by zero"
