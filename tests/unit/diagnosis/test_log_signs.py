from __future__ import annotations

import time

import pytest
from tests.unit.diagnosis import evidence_factory as make

from selfheal.diagnosis import log_signs
from selfheal.diagnosis.reading import Reading

CASES = [
    ("BadArgument", "Initial heap size", "Error occurred during initialization of VM\nInitial heap size set to a larger value than the maximum heap size\n"),
    ("BadArgument", "maximum heap", "Error occurred during initialization of VM\nToo small maximum heap\n"),
    ('PortTaken', '8080', "Error: listen EADDRINUSE: address already in use :::8080\n    at Server.setupListenHandle [as _listen2] (node:net:1463:16)\n    at x (y)\n  code: 'EADDRINUSE',\n  errno: -98\n}\n\nNode.js v18.19"),
    ('PortTaken', '80', 'nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)'),
    ('PortTaken', None, '  File "/usr/lib/python3.11/socketserver.py", line 472, in server_bind\n    self.socket.bind(self.server_address)\nOSError: [Errno 98] Address already in use'),
    ('PortTaken', '9000', '2024/01/01 10:00:00 listen tcp :9000: bind: address already in use'),
    ('PortTaken', '8080', 'Web server failed to start. Port 8080 was already in use.'),
    ('MissingVariable', 'BUCKET', 'starting\nBUCKET is required'),
    ('MissingVariable', 'LOG_TARGET', 'FATAL: LOG_TARGET must be set'),
    ('MissingVariable', 'DATABASE_URL', 'Error: DATABASE_URL environment variable is not set'),
    ('MissingVariable', 'DATABASE_URL', 'Error: environment variable DATABASE_URL is not set'),
    ('MissingVariable', 'DATABASE_URL', 'sh: DATABASE_URL: parameter not set'),
    ('MissingVariable', 'DATABASE_URL', '/bin/sh: 1: DATABASE_URL: parameter not set'),
    ('MissingVariable', 'DATABASE_URL', 'main.sh: line 3: DATABASE_URL: unbound variable'),
    ('MissingVariable', 'DB_HOST', '2024/01/01 required key DB_HOST missing value'),
    ('MissingVariable', 'POSTGRES_PASSWORD', 'Error: Database is uninitialized and superuser password is not specified.\n       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser. For example, "-e POSTGRES_PASSWORD=password" on "docker run".'),
    ('MissingVariable', 'db.url', 'Caused by: java.lang.IllegalArgumentException: Could not resolve placeholder \'db.url\' in value "${db.url}"\n\tat org.spring.X(Y.java:1)\n\tat x.y(z)'),
    ('MissingVariable', 'INPUT_BUCKET', 'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n  File "<frozen os>", line 679, in __getitem__\nKeyError: \'INPUT_BUCKET\''),
    ('MissingVariable', 'API_KEY', '/usr/lib/ruby/x.rb:3:in `fetch\': key not found: "API_KEY" (KeyError)\n\tfrom main.rb:1:in `<main>\''),
    ('MissingVariable', 'API_TOKEN', 'Missing required environment variable: API_TOKEN'),
    ('MissingVariable', 'REDIS_URL', "throw new Error('x')\n^\n\nError: Missing REDIS_URL\n    at Object.<anonymous> (/app/index.js:3:9)\n\nNode.js v20.1"),
    ('MissingVariable', 'DATABASE_URL', 'pydantic_core.ValidationError: 1 validation error for Settings\ndatabase_url\n  Field required [type=missing, input_value={}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.5/v/missing'),
    ('MissingVariable', 'S3_REGION', 'time=2024 level=fatal msg="S3_REGION not set"'),
    ('MissingVariable', 'S3_REGION', '{"level":"fatal","msg":"env var S3_REGION is missing"}'),
    ('MissingCommand', 'http.servr', '/usr/local/bin/python3: No module named http.servr'),
    ('MissingCommand', '/app/server.js', "node:internal/modules/cjs/loader:1080\n  throw err;\n  ^\n\nError: Cannot find module '/app/server.js'\n    at Module._resolveFilename (node:internal)\n {\n  code: 'MODULE_NOT_FOUND',\n  requireStack: []\n}\n\nNode.js v18"),
    ('MissingCommand', 'app.jar', 'Error: Unable to access jarfile app.jar'),
    ('MissingCommand', 'serve', 'sh: serve: not found'),
    ('MissingCommand', 'serve', '/bin/sh: 1: serve: not found'),
    ('MissingCommand', 'serve', 'bash: line 1: serve: command not found'),
    ('MissingCommand', '/code/confg.yaml', "python3: can't open file '/code/confg.yaml': [Errno 2] No such file or directory"),
    ('MissingFile', '/etc/relay/relay.ini', 'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nFileNotFoundError: [Errno 2] No such file or directory: \'/etc/relay/relay.ini\''),
    ('MissingFile', '/data/input.csv', 'cannot open /data/input.csv: No such file or directory'),
    ('MissingFile', '/etc/app.yaml', '2024/01/01 open /etc/app.yaml: no such file or directory'),
    ('MissingFile', '/config/app.json', "Error: ENOENT: no such file or directory, open '/config/app.json'\n    at Object.openSync (node:fs:601:3)\n  errno: -2,\n  syscall: 'open',\n  path: '/config/app.json'\n}"),
    ('MissingFile', '/etc/x.yml', 'Exception in thread "main" java.io.FileNotFoundException: /etc/x.yml (No such file or directory)\n\tat java.io.X(Y)'),
    ('MissingFile', '/etc/nginx/ssl/tls.crt', 'nginx: [emerg] cannot load certificate "/etc/nginx/ssl/tls.crt": BIO_new_file() failed (SSL: error:02001002:system library:fopen:No such file or directory:fopen(\'/etc/nginx/ssl/tls.crt\',\'r\')'),
    ('MissingFile', '/x/y', "cat: can't open '/x/y': No such file or directory"),
    ('MissingFile', '/etc/a.conf', 'No such file or directory @ rb_sysopen - /etc/a.conf (Errno::ENOENT)'),
    ('MissingFile', '/etc/app/app.conf', 'config file /etc/app/app.conf not found'),
    ('BadArgument', 'forever', "sleep: invalid number 'forever'"),
    ('BadArgument', '--prot', 'error: unrecognized arguments: --prot'),
    ('BadArgument', '-prt', 'flag provided but not defined: -prt\nUsage of /app:\n  -port int\n'),
    ('BadArgument', 'x', 'unknown option: x'),
    ('UnknownHost', 'databse', ";; connection timed out; no servers could be reached\n\nnc: bad address 'databse'"),
    ('UnknownHost', 'databse', 'Error: getaddrinfo ENOTFOUND databse\n    at x (y)'),
    ('UnknownHost', 'databse', 'java.net.UnknownHostException: databse: Name or service not known'),
    ('UnknownHost', 'databse', 'dial tcp: lookup databse on 10.96.0.10:53: no such host'),
    ('UnknownHost', None, 'socket.gaierror: [Errno -2] Name or service not known'),
    ('Unreachable', '127.0.0.1:5432', 'Error: connect ECONNREFUSED 127.0.0.1:5432\n    at x (y)'),
    ('Unreachable', '10.0.0.1:80', 'dial tcp 10.0.0.1:80: connect: connection refused'),
    ('FilePermission', '/var/log/x', "PermissionError: [Errno 13] Permission denied: '/var/log/x'"),
    ('BadConfiguration', None, 'nginx: [emerg] unknown directive "lisen" in /etc/nginx/conf.d/default.conf:2'),
    ('BadConfiguration', None, 'yaml.scanner.ScannerError: mapping values are not allowed here'),
    ('Application', None, 'Traceback (most recent call last):\n  File "/code/main.py", line 11, in <module>\n    print(price(order), flush=True)\n          ^^^^^^^^^^^^\nKeyError: \'currency\''),
    ('Application', None, 'panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45]\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:11 +0x1d\nexit status 2'),
    ('Application', None, 'Exception in thread "main" java.lang.IllegalStateException: no order\n\tat a.b.C.d(E.java:3)'),
    ('Application', None, "/app/index.js:3\nTypeError: Cannot read properties of undefined (reading 'x')\n    at f (/app/index.js:3:1)\n\nNode.js v18"),
    ('Application', None, "thread 'main' panicked at 'index out of bounds', src/main.rs:4:5\nnote: run with `RUST_BACKTRACE=1`"),
    ('Application', None, "main.rb:2:in `+': nil can't be coerced into Integer (TypeError)\n\tfrom main.rb:2:in `<main>'"),
    (None, None, 'starting\nunknown mode'),
    (None, None, 'hello\nshutting down'),
    ('MissingVariable', None, 'optional file /etc/a: no such file or directory, using defaults\nstart\nerror: missing environment variable'),
    ('Application', None, 'warn: /etc/x: no such file or directory\nTraceback (most recent call last):\n  File "a", line 2\n    x\nZeroDivisionError: division by zero'),
]


@pytest.mark.parametrize(("fault", "what", "text"), CASES)
def test_the_last_lines_of_many_languages_are_read(fault: str | None, what: str | None, text: str) -> None:
    sign = log_signs.read(make.log(text))
    assert (sign.fault if sign else None, sign.what if sign else None) == (fault, what)


def test_the_nearer_of_two_chained_exceptions_is_looked_behind() -> None:
    text = (
        "Traceback (most recent call last):\n  File \"a\", line 1\nFileNotFoundError: [Errno 2] No such file or directory: '/etc/a.ini'\n\n"
        "The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"b\"\nAppError: no start\n"
    )
    sign = log_signs.read(make.log(text))
    assert sign is not None
    assert (sign.fault, sign.what) == ("MissingFile", "/etc/a.ini")


def test_a_trace_without_a_message_is_an_application_fault() -> None:
    sign = log_signs.read(make.log("    at a.B.c(D.java:1)\n    at a.B.main(D.java:9)\n"))
    assert sign is not None
    assert (sign.fault, sign.line) == ("Application", "a stack trace")
    said = log_signs.read(make.log("panic: no orders\nexit status 2\n"))
    assert said is not None
    assert said.line == "panic: no orders ... exit status 2"


def test_logs_of_ended_runs_come_first_and_the_living_one_only_without_them() -> None:
    current, previous = make.log("now", previous=False), make.log("before")
    for status, expected in (
        (make.status(ready=True, restarts=1), ["before"]),
        (make.status(terminated=make.ended()), ["now", "before"]),
    ):
        reading = Reading(bundle=make.bundle(make.pod(statuses=[status]), current, previous))
        assert [log.value["text"] for log in log_signs.dead_logs(reading, reading.containers[0])] == expected
    reading = Reading(bundle=make.bundle(make.pod(), current))
    assert [log.value["text"] for log in log_signs.dead_logs(reading, reading.containers[0])] == ["now"]


@pytest.mark.parametrize("piece", ["a", "A_", "/a.b", "12:", "port 80 ", " x", "'a' ", "required env A ", "at a.b("])
def test_a_log_that_is_made_to_take_long_does_not(piece: str) -> None:
    line = piece * (400 // len(piece))
    begun = time.process_time()
    log_signs.read(make.log(f"{piece * 8000}\n" + f"{line}\n" * 60))
    assert time.process_time() - begun < 3


REDIS = """*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 4
>>> 'appendfsync everysecond'
argument(s) must be one of the following: everysec, always, no
"""


def test_a_heading_is_quoted_with_what_stands_below_it() -> None:
    sign = log_signs.read(make.log(REDIS))
    assert sign is not None
    assert (sign.fault, "'appendfsync everysecond'" in sign.line) == ("BadConfiguration", True)
    sign = log_signs.read(make.log("config file error: bad mode\nbye"))
    assert sign is not None
    assert sign.line == "config file error: bad mode"


@pytest.mark.parametrize("line", ["[ERROR] unknown variable 'max_conections=100'", 'FATAL:  unrecognized configuration parameter "shared_bufers"'])
def test_a_setting_that_is_not_known_is_a_bad_configuration(line: str) -> None:
    sign = log_signs.read(make.log(f"{line}\n[ERROR] Aborting"))
    assert sign is not None
    assert (sign.fault, sign.line) == ("BadConfiguration", line)
