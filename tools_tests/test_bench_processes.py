import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import processes
from bench.processes import Command, MemoryWatch, NotStarted, Served

MIB = 1 << 20
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "held = b'x' * (40 << 20); print('held', flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
input()
child.communicate(b"\\n")
"""
SERVER = """
import http.server, sys
class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Probe).serve_forever()
"""


def test_memory_and_cpu_time_are_those_of_the_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        watch = MemoryWatch(parent.pid)
        watch.start()
        watch.stop()
        assert len(processes.tree(parent.pid)) == 2
        assert watch.peak > processes.peak_bytes(parent.pid) + 40 * MIB
        assert 0 < processes.cpu_seconds(parent.pid) < 60
        parent.communicate(b"\n")
    assert processes.peak_bytes(parent.pid) == 0
    assert processes.cpu_seconds(parent.pid) == 0


def test_a_server_is_ready_once_its_probe_answers_and_ends_with_the_block(tmp_path: Path) -> None:
    port = processes.free_port()
    with Served([sys.executable, "-c", SERVER, str(port)], port, probe="/ready", output=tmp_path / "said") as served:
        assert 0 < served.seconds_to_ready < processes.READY_SECONDS
        assert processes.status_of(port, "/elsewhere") == 404
        assert served.memory.peak >= 0
    assert processes.status_of(port, "/ready") == 0


def test_a_server_that_ends_is_named_with_what_it_said(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    began = time.perf_counter()
    with (
        pytest.raises(NotStarted, match="no luck today"),
        Served(line, processes.free_port(), probe="/ready", output=tmp_path / "said"),
    ):
        pass
    assert time.perf_counter() - began < processes.READY_SECONDS


def test_lectern_up_is_called_as_a_user_would(tmp_path: Path) -> None:
    command = Command(tmp_path / "resources", ("claim=here",), tmp_path / "data", sync_seconds=1)
    program, *arguments = command.line(1234)
    assert Path(program).name == "lectern"
    assert arguments == [
        "up",
        "-f",
        str(tmp_path / "resources"),
        "--mount",
        "claim=here",
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        "1234",
        "--sync-seconds",
        "1",
    ]
