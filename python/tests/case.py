"""What the tests share: a home and a project for each.

Environment: REGISTRY (host:port, open to all), PRIVATE_REGISTRY (user `user`, password `pass word`), BUSYBOX (a static one).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path

import mpimg

REGISTRY = os.environ["REGISTRY"]
PRIVATE = os.environ["PRIVATE_REGISTRY"]


class Case(unittest.TestCase):
    """A home and a project for each test."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.mpimg = mpimg.Mpimg(home=self.folder / "store")
        self.addCleanup(self.remove_containers)
        self.project = self.folder / "project"
        (self.project / "app").mkdir(parents=True)
        self.write("manifest.txt", '{"name": "iSDK_Hello", "version": "1.2.3", "adapter_kinds": ["HelloAdapter"]}')
        self.write("Dockerfile", 'FROM scratch\nCOPY commands.cfg .\nCOPY app app\nCMD ["run"]\n')
        self.write("commands.cfg", "[Commands]\n")
        self.write("app/adapter.py", "print('hello')\n")

    def remove_containers(self) -> None:
        """They outlive this process."""
        for info in self.mpimg.containers():
            self.mpimg.container(info.id).remove()

    def write(self, name: str, text: str) -> None:
        (self.project / name).write_text(text)

    def shell(self, name: str, more: str) -> Path:
        """A folder whose image has busybox's shell and some of its tools, and what `more` says."""
        folder = self.folder / name
        folder.mkdir()
        shutil.copy(os.environ["BUSYBOX"], folder / "busybox")
        tools = "".join(f"COPY busybox /bin/{tool}\n" for tool in ("sh", "sleep", "httpd", "mkdir"))
        (folder / "Dockerfile").write_text(f"FROM scratch\n{tools}{more}\n")
        return folder

    def slow(self) -> Path:
        """A folder whose RUN prints `started` and goes on for longer than any test waits."""
        return self.shell("slow", "RUN echo started; sleep 600")

    def assert_nothing_is_left(self) -> None:
        self.assertEqual(list((self.folder / "store" / "tmp").iterdir()), [])
        self.assertNotIn(str(self.folder), Path("/proc/self/mountinfo").read_text())
