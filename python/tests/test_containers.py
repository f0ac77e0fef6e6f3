"""Containers, as the installed package starts them: run by tests/it/python/mod.rs in a fresh virtual environment."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import unittest
import urllib.request

import mpimg
from case import Case

SERVER = "mkdir -p /www; echo $PAGE >/www/index.html; echo ready; echo loud >&2; exec httpd -f -p 8080 -h /www"


class Containers(Case):
    def setUp(self) -> None:
        super().setUp()
        self.mpimg.build(self.shell("image", 'ENV PAGE=hello\nENTRYPOINT ["sh", "-c"]'), names=["shell:1"])

    def test_an_adapter_is_started_asked_measured_and_stopped(self) -> None:
        container = self.mpimg.run("shell:1", [SERVER], name="web", ports=["127.0.0.1:0:8080"], env={"PAGE": "other"}, memory="256m")
        info = container.info()
        self.assertEqual((info.id, info.name, info.image, info.state), (container.id, "web", "shell:1", "running"))
        self.assertEqual((info.command, info.memory, info.outcome), (("sh", "-c", SERVER), 256 << 20, None))
        self.assertEqual([(port.ip, port.container) for port in info.ports], [("127.0.0.1", 8080)])
        self.assertTrue(container.notes, "which network it has is said")
        self.assertEqual(self.page(info.ports[0].host), "other\n")
        stats = container.stats()
        self.assertGreaterEqual(stats.processes, 1)
        self.assertEqual(stats.memory_limit, 256 << 20)
        self.assertEqual([each.id for each in self.mpimg.containers()], [container.id])
        self.assertEqual(self.mpimg.container("web").id, container.id)

        with self.assertRaises(mpimg.UsageError):
            container.stop(-1)
        container.stop()
        outcome = container.wait()
        self.assertEqual((outcome.status, outcome.out_of_memory), (143, False))
        self.assertEqual(container.info().outcome, outcome)
        self.assertEqual(
            {(entry.stream, entry.data) for entry in container.logs()}, {("stdout", b"ready\n"), ("stderr", b"loud\n")}
        )
        with self.assertRaises(mpimg.NotFoundError):
            container.stats()
        container.remove()
        for gone in (container.info, container.wait, lambda: self.mpimg.container("web")):
            with self.assertRaises(mpimg.NotFoundError):
                gone()
        self.assert_nothing_is_left()

    def page(self, port: int) -> str:
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
                    return str(answer.read().decode())
            except OSError:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.05)

    def test_a_log_is_followed_to_the_end_and_with_ends_the_container(self) -> None:
        volume = self.folder / "volume"
        script = "echo one; while [ ! -e /shared/go ]; do sleep 0.05; done; echo two; exit 3"
        with self.mpimg.run("shell:1", [script], volumes=[f"{volume}:/shared"]) as container:
            texts = []
            for entry in container.logs(follow=True):
                texts.append(entry.data)
                self.assertLess(abs(entry.time - time.time()), 60)
                (volume / "go").touch()
            self.assertEqual(b"".join(texts), b"one\ntwo\n")
            self.assertEqual(container.wait().status, 3)
        self.assertEqual(self.mpimg.containers(), ())

    def test_a_signal_arrives_and_what_shall_be_forgotten_is(self) -> None:
        volume = self.folder / "volume"
        script = "trap 'echo heard >/shared/heard; exit 0' USR1; echo ready; while true; do sleep 0.05; done"
        container = self.mpimg.run("shell:1", [script], volumes=[f"{volume}:/shared"], remove=True)
        log = container.logs(follow=True)
        self.assertEqual(next(log).data, b"ready\n")
        container.signal(signal.SIGUSR1)
        self.assertEqual(list(log), [])
        self.assertEqual((volume / "heard").read_text(), "heard\n")
        until = time.monotonic() + 60
        while self.mpimg.containers():
            self.assertLess(time.monotonic(), until)

    def test_a_container_goes_with_the_process_that_it_is_to_end_with(self) -> None:
        with subprocess.Popen(["sleep", "600"]) as owner:
            container = self.mpimg.run("shell:1", ["trap '' TERM; echo ready; sleep 600"], end_with=owner.pid)
            self.assertEqual(next(container.logs(follow=True)).data, b"ready\n")
            owner.kill()
        until = time.monotonic() + 60
        while self.mpimg.containers():
            self.assertLess(time.monotonic(), until)
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.run("shell:1", ["true"], end_with=owner.pid)
        self.assertEqual(self.mpimg.containers(), ())

    def test_what_cannot_be_started_has_the_class_of_its_kind(self) -> None:
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.run("nothing:1")
        for wrong in ({"ports": ["8080/udp"]}, {"volumes": ["name:/a"]}, {"memory": "much"}, {"name": "-"}, {"network": "mesh"}):
            with self.assertRaises(mpimg.UsageError):
                self.mpimg.run("shell:1", ["true"], **wrong)
        with self.mpimg.run("shell:1", [SERVER], ports=["127.0.0.1:0:8080"]) as first:
            port = first.info().ports[0].host
            with self.assertRaises(mpimg.NetworkError):
                self.mpimg.run("shell:1", [SERVER], ports=[f"127.0.0.1:{port}:8080"])
        self.assertEqual(self.mpimg.containers(), ())

    def test_ctrl_c_ends_the_waiting_and_not_the_container(self) -> None:
        with self.mpimg.run("shell:1", ["echo ready; sleep 600"]) as container:
            for wait in (container.wait, lambda: list(container.logs(follow=True))):
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                with self.assertRaises(KeyboardInterrupt):
                    wait()
            self.assertEqual(container.info().state, "running")


if __name__ == "__main__":
    unittest.main()
