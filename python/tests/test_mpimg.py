"""The package as it is installed: run by tests/it/python/mod.rs in a fresh virtual environment."""

from __future__ import annotations

import inspect
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Callable

import mpimg
from case import PRIVATE, REGISTRY, Case
from mpimg import command
from mpimg.events import Finished, Printed, Started, Warned

KINDS = (
    "usage dockerfile project context secret not_found corrupt store sandbox run_failed auth registry network io interrupted "
    "unsupported policy"
).split()


class Operations(Case):
    def test_a_project_is_read(self) -> None:
        self.write("config.json", '{"container_repository": "h.example.com/a", "default_memory_limit": 512}')
        project = mpimg.Project.open(self.project)
        self.assertEqual((project.name, project.version, project.kind), ("iSDK_Hello", "1.2.3", "HelloAdapter"))
        self.assertEqual(project.image_name, "isdk_hello-test:1.2.3")
        self.assertEqual((project.container_repository, project.default_memory_limit), ("h.example.com/a", 512))

    def test_a_build_gives_the_digest_that_the_command_gives(self) -> None:
        built = self.mpimg.build(self.project, names=["hello:1"], outputs=[f"oci:{self.folder}/layout"])
        command = [sys.executable, "-m", "mpimg", "build", "-q", str(self.project)]
        environment = {**os.environ, "MPIMG_HOME": str(self.folder / "other")}
        self.assertEqual(subprocess.check_output(command, env=environment, text=True).strip(), built.digest)
        self.assertEqual([layer.created_by for layer in built.layers], ["COPY commands.cfg . # buildkit", "COPY app app # buildkit"])
        index = json.loads((self.folder / "layout" / "index.json").read_text())
        self.assertEqual(index["manifests"][0]["digest"], built.digest)
        self.assertEqual([(image.name, image.digest) for image in self.mpimg.images()], [("hello:1", built.digest)])

    def test_an_image_without_a_name_has_none(self) -> None:
        environment = {**os.environ, "MPIMG_HOME": str(self.folder / "home")}
        words = ["docker", "build", "-q", str(self.project)]
        built = subprocess.check_output(words, executable=command.find(), env=environment, text=True).strip()
        images = mpimg.Mpimg(home=self.folder / "home").images()
        self.assertEqual([(image.name, image.image_id) for image in images], [(None, built)])

    def test_images_are_tagged_inspected_and_removed(self) -> None:
        built = self.mpimg.build(self.project, names=["hello:1"], labels={"a": "b"})
        self.assertEqual(self.mpimg.tag("hello:1", "hello:2"), built.digest)
        found = self.mpimg.inspect("hello:2", files=True)
        self.assertEqual((found.digest, found.config["config"]["Labels"]), (built.digest, {"a": "b"}))
        assert found.files is not None
        self.assertEqual([[file.path for file in layer] for layer in found.files], [["/commands.cfg"], ["/app", "/app/adapter.py"]])
        self.assertIsNone(self.mpimg.inspect("hello:2").files)
        self.assertEqual(self.mpimg.remove("hello:1", "hello:2"), ("hello:1", "hello:2"))
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.remove("hello:1")
        self.assertEqual(self.mpimg.remove("hello:1", force=True), ())

    def test_a_push_tells_what_the_pak_wants_and_the_registry_has_it(self) -> None:
        project = mpimg.Project.open(self.project)
        pushed = self.mpimg.push(project, f"{REGISTRY}/py/push", tags=["1", "2"])
        self.assertEqual(str(pushed.conf), f"REGISTRY={REGISTRY}\nREPOSITORY=/py/push\nDIGEST={pushed.digest}\n")
        self.assertTrue(pushed.anonymous_pull)
        self.assertEqual(pushed.reference, f"{REGISTRY}/py/push@{pushed.digest}")
        request = urllib.request.Request(f"http://{REGISTRY}/v2/py/push/manifests/2", method="HEAD")
        request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
        with urllib.request.urlopen(request) as answer:
            self.assertEqual(answer.headers["Docker-Content-Digest"], pushed.digest)
        self.assertTrue(self.mpimg.check(f"{REGISTRY}/py/push:2").passed)

    def test_config_json_learns_the_repository_after_a_push_and_not_before(self) -> None:
        repository = f"{REGISTRY}/py/remember"
        with self.assertRaises(mpimg.NetworkError):
            self.mpimg.push(self.project, push_repository="localhost:1/py/remember")
        self.assertFalse((self.project / "config.json").exists())
        self.mpimg.push(self.project, push_repository=repository)
        self.assertEqual(json.loads((self.project / "config.json").read_text()), {"container_repository": repository})
        self.assertEqual(self.mpimg.push(self.project).repository, repository)

    def test_an_image_that_exists_is_pushed(self) -> None:
        built = self.mpimg.build(self.project, names=["hello:7"])
        pushed = self.mpimg.push(self.folder, f"{REGISTRY}/py/image", image="hello:7")
        self.assertEqual((pushed.digest, pushed.tags), (built.digest, ("7",)))

    def test_credentials_are_used_where_they_belong_and_shown_nowhere(self) -> None:
        repository = f"{PRIVATE}/py/private"
        with self.assertRaises(mpimg.AuthError) as refused:
            self.mpimg.push(self.project, repository, username="user", password="hunter2")
        self.assertNotIn("hunter2", repr(refused.exception) + str(refused.exception))
        pushed = self.mpimg.push(self.project, repository, username="user", password="pass word")
        self.assertFalse(pushed.anonymous_pull)
        other = mpimg.Mpimg(home=self.folder / "store", credentials={PRIVATE: ("user", "pass word")})
        self.assertEqual(other.push(self.project, repository).digest, pushed.digest)
        self.assertNotIn("pass word", repr(other))
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.push(self.project, repository, username="user")
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.check(repository, username="user")
        report = self.mpimg.check(repository, username="user", password="pass word")
        states = {item.name: item.state for item in report.items}
        self.assertEqual((states["push"], states["anonymous pull"], report.passed), ("passed", "failed", False), report)

    def test_an_image_is_copied_byte_for_byte_with_its_sbom(self) -> None:
        pushed = self.mpimg.push(self.project, f"{REGISTRY}/py/copied", tags=["1"], sbom="spdx")
        assert pushed.sbom is not None
        source = f"docker://{REGISTRY}/py/copied:1"
        copied = self.mpimg.copy(source, f"oci:{self.folder}/layout:1", referrers=True)
        self.assertEqual((copied.digest, copied.blobs), (pushed.digest, ()))
        self.assertEqual([manifest.digest for manifest in copied.referrers], [pushed.sbom])
        self.assertEqual(copied.size, pushed.size - os.path.getsize(self.blob("layout", pushed.digest)))
        there = f"docker://{PRIVATE}/py/copied:1"
        with self.assertRaises(mpimg.AuthError):
            self.mpimg.copy(f"oci:{self.folder}/layout:1", there)
        events: list[mpimg.Event] = []
        again = self.mpimg.copy(
            f"oci:{self.folder}/layout:1", there, referrers=True, username="user", password="pass word", progress=events.append
        )
        self.assertEqual((again.digest, {blob.outcome for blob in again.blobs}), (pushed.digest, {"uploaded"}))
        self.assertTrue(any(isinstance(event, Started) and event.kind == "push" for event in events))
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.copy(source, "hello:1", referrers=True)
        self.assertEqual(self.mpimg.copy(source, "hello:1").digest, self.mpimg.inspect("hello:1").digest)

    def test_a_bill_of_materials_is_a_file_and_what_is_attached(self) -> None:
        (self.project / "app" / "hello-2.dist-info").mkdir()
        self.write("app/hello-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 2\n")
        file = self.folder / "app.spdx.json"
        repository = f"{REGISTRY}/py/sbom"
        pushed = self.mpimg.push(self.project, repository, tags=["1"], sbom="spdx", sbom_file=file)
        self.mpimg.copy(f"docker://{repository}:1", f"oci:{self.folder}/layout:1", referrers=True)
        assert pushed.sbom is not None
        manifest = json.loads(self.blob("layout", pushed.sbom).read_bytes())
        self.assertEqual(self.blob("layout", manifest["layers"][0]["digest"]).read_bytes(), file.read_bytes())
        built = self.folder / "built.spdx.json"
        self.mpimg.build(self.project, names=[f"{repository}:1"], sbom_file=built)
        self.assertEqual(built.read_bytes(), file.read_bytes())
        self.mpimg.build(self.project, sbom_file=str(self.folder / "app.cdx.json"))
        components = json.loads((self.folder / "app.cdx.json").read_bytes())["components"]
        self.assertEqual([component["purl"] for component in components], ["pkg:pypi/hello@2"])
        (package,) = self.mpimg.packages(f"{repository}:1")
        self.assertEqual((package.kind, package.name, package.version, package.purl), ("python", "hello", "2", "pkg:pypi/hello@2"))
        ((place, _),) = package.places
        self.assertTrue(place.endswith("/hello-2.dist-info/METADATA"), package)
        sbom = self.mpimg.sbom(f"{repository}:1", "spdx")
        self.assertEqual((sbom.packages, sbom.document), ((package,), file.read_text()))
        diff = self.mpimg.diff(f"{repository}:1", f"docker://{repository}:1")
        self.assertTrue(diff.same and diff.new["digest"] == pushed.digest, diff)
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.packages("hello:none")
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.build(self.project, sbom_file="sbom.json")
        with self.assertRaises(mpimg.IoError):
            self.mpimg.push(self.project, f"{repository}/no", sbom_file=self.folder / "missing" / "app.cdx.json")
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.inspect(f"docker://{repository}/no:latest")

    def blob(self, layout: str, digest: str) -> Path:
        return self.folder / layout / "blobs" / digest.replace(":", "/")

    def test_results_of_run_are_shared_through_a_repository(self) -> None:
        project = self.shell("shared", "RUN echo made here >/made")
        built = self.mpimg.build(project, cache_repo=f"{REGISTRY}/py/cache")
        events: list[mpimg.Event] = []
        other = mpimg.Mpimg(home=self.folder / "other")
        again = other.build(project, cache_repo=f"{REGISTRY}/py/cache", threads=1, proxies={}, progress=events.append)
        self.assertEqual(again.digest, built.digest)
        run = next(event.task for event in events if isinstance(event, Started) and "RUN" in event.name)
        self.assertIn(Finished(run, "cached"), events)
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.build(project, cache_repo="no repository")

    def test_a_push_takes_what_a_build_takes(self) -> None:
        build = inspect.signature(mpimg.Mpimg.build).parameters
        push = inspect.signature(mpimg.Mpimg.push).parameters
        own = ("names", "outputs", "push", "load", "platforms", "check_reproducible")
        of_builds = {name: parameter for name, parameter in build.items() if name not in own}
        self.assertEqual({name: push.get(name) for name in of_builds}, of_builds)

    def test_an_archive_is_saved_loaded_and_imported(self) -> None:
        built = self.mpimg.build(self.project, names=["app:1"])
        archive = self.folder / "app.tar"
        self.assertEqual(self.mpimg.save("app:1", str(archive)), built.digest)
        other = mpimg.Mpimg(home=self.folder / "other")
        self.assertEqual(other.load(archive, name="again:2"), (mpimg.LoadedImage(("app:1", "again:2"), built.digest),))
        self.assertEqual({image.name for image in other.images()}, {"app:1", "again:2"})
        with self.assertRaises(mpimg.NotFoundError):
            other.load(self.folder / "missing.tar")

        tar = self.folder / "root.tar"
        with tarfile.open(tar, "w") as file:
            file.add(self.project / "app", "app")
        first = other.import_image(tar, "base:1", source_date_epoch=1)
        self.assertEqual(other.import_image(tar, "base:2", source_date_epoch=1), first)

        other.remove("app:1", "again:2", "base:1", "base:2")
        pruned = other.prune(all=True)
        self.assertGreater((pruned.blobs, pruned.freed), (0, 0))

    def test_a_registry_of_this_program_takes_a_push(self) -> None:
        with self.mpimg.serve(dir=self.folder / "registry") as server:
            pushed = self.mpimg.push(self.project, f"{server.addr}/mp/hello")
            self.assertTrue(pushed.anonymous_pull)
            self.assertEqual(server.dir, self.folder / "registry")
            with self.assertRaises(mpimg.UsageError):
                self.mpimg.serve(dir=self.folder / "registry")
            self.assertGreater(server.stop() or 0, 0)
        self.assertIsNone(server.stop())

    def test_the_doctor_reports_isolation_and_configuration(self) -> None:
        report = self.mpimg.doctor()
        self.assertEqual([check.name for check in report.isolations], ["root", "userns", "single", "chroot", "emulated"])
        self.assertIn(report.isolation, [check.name for check in report.isolations if check.works] or [None])
        self.assertEqual((report.store, report.store_error), (self.folder / "store", None))
        self.assertTrue(report.files)

    def test_a_login_is_tried_stored_and_forgotten(self) -> None:
        with self.assertRaises(mpimg.AuthError):
            self.mpimg.login(PRIVATE, "user", "wrong")
        place = self.mpimg.login(f"https://{PRIVATE}/", "user", "pass word")
        self.assertIn(PRIVATE, json.loads(Path(place).read_text())["auths"])
        self.mpimg.push(self.project, f"{PRIVATE}/py/login")
        self.assertTrue(self.mpimg.logout(PRIVATE))
        self.assertFalse(self.mpimg.logout(PRIVATE))


class Errors(Case):
    def test_each_kind_has_a_class(self) -> None:
        classes = [each for each in vars(mpimg).values() if isinstance(each, type) and issubclass(each, mpimg.Error)]
        self.assertEqual(sorted(each.kind for each in classes if each is not mpimg.Error), sorted(KINDS))

    def test_an_error_has_message_hint_causes_and_place(self) -> None:
        self.write("Dockerfile", "FROM scratch\nCOYP a b\n")
        with self.assertRaises(mpimg.DockerfileError) as raised:
            self.mpimg.build(self.project)
        error = raised.exception
        assert error.snippet is not None
        self.assertEqual((error.snippet.line, error.snippet.text), (2, "COYP a b"))
        self.assertIn("COPY", error.hint or "")
        self.assertEqual(str(error).splitlines()[-1], f"hint: {error.hint}")
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), str(again), again.snippet), (type(error), str(error), error.snippet))

    def test_causes_are_told_in_order(self) -> None:
        with self.assertRaises(mpimg.NetworkError) as raised:
            self.mpimg.push(self.project, "localhost:1/a/b")
        self.assertEqual(raised.exception.message, "cannot push `localhost:1/a/b`")
        self.assertEqual(raised.exception.causes[0], "cannot connect to `localhost:1`")

    def test_what_goes_wrong_has_the_class_of_its_kind(self) -> None:
        (self.folder / "empty").mkdir()
        calls: dict[type[mpimg.Error], Callable[[], object]] = {
            mpimg.ProjectError: lambda: mpimg.Project.open(self.folder),
            mpimg.UsageError: lambda: self.mpimg.build(self.project, codec="rar"),
            mpimg.IoError: lambda: self.mpimg.build(self.folder / "empty"),
            mpimg.NotFoundError: lambda: self.mpimg.inspect("nothing:1"),
            mpimg.StoreError: lambda: mpimg.Mpimg(home="/proc/1/nowhere").images(),
        }
        for kind, call in calls.items():
            with self.assertRaises(kind):
                call()
        self.write("connections.json", '{"password": "hunter2"}')
        self.write("Dockerfile", "FROM scratch\nCOPY connections.json .\n")
        with self.assertRaises(mpimg.SecretError):
            self.mpimg.build(self.project)
        self.write("Dockerfile", "FROM scratch\nCOPY missing .\n")
        with self.assertRaises(mpimg.ContextError):
            self.mpimg.build(self.project)


class Progress(Case):
    def test_every_task_that_starts_is_finished_and_told_on_the_calling_thread(self) -> None:
        events: list[mpimg.Event] = []
        threads = set()

        def tell(event: mpimg.Event) -> None:
            threads.add(threading.get_ident())
            events.append(event)

        self.mpimg.push(self.project, f"{REGISTRY}/py/progress", progress=tell)
        started = {event.task for event in events if isinstance(event, Started)}
        self.assertEqual(started, {event.task for event in events if isinstance(event, Finished)})
        self.assertIn("[2/3] COPY app app", [event.name for event in events if isinstance(event, Started)])
        self.assertEqual(threads, {threading.get_ident()})

    def test_an_exception_of_the_callback_stops_the_work_and_comes_out(self) -> None:
        def fail(event: mpimg.Event) -> None:
            if isinstance(event, Printed):
                raise LookupError("enough")

        begun = time.monotonic()
        with self.assertRaisesRegex(LookupError, "enough"):
            self.mpimg.build(self.slow(), progress=fail)
        self.assertLess(time.monotonic() - begun, 60, "it went on")
        self.assert_nothing_is_left()

    def test_warnings_go_to_the_log_without_a_callback(self) -> None:
        shutil.move(self.project / "manifest.txt", self.folder)
        self.write("id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
        self.write("Dockerfile", "FROM scratch\nCOPY id_rsa .\n")
        with self.assertLogs("mpimg", logging.WARNING) as log:
            self.mpimg.build(self.project)
        events: list[mpimg.Event] = []
        self.mpimg.build(self.project, progress=events.append)
        warning = next(event for event in events if isinstance(event, Warned))
        self.assertIn(warning.message, log.output[0])

    def test_a_callback_that_cannot_be_called_is_a_type_error(self) -> None:
        with self.assertRaises(TypeError):
            self.mpimg.build(self.project, progress=1)  # type: ignore[arg-type]


class Interrupting(Case):
    def test_ctrl_c_becomes_a_keyboard_interrupt_and_leaves_nothing(self) -> None:
        def press(event: mpimg.Event) -> None:
            if isinstance(event, Printed):
                # From another thread, as the terminal's comes: while this one waits for Rust.
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

        with self.assertRaises(KeyboardInterrupt):
            self.mpimg.build(self.slow(), progress=press)
        self.assert_nothing_is_left()
        # The store is as good as before.
        self.assertEqual(len(self.mpimg.build(self.project).layers), 2)

    def test_ctrl_c_without_a_callback_is_seen_too(self) -> None:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            self.mpimg.build(self.slow())
        self.assert_nothing_is_left()


    def test_a_second_ctrl_c_does_not_wait(self) -> None:
        # In a process of its own: what it leaves behind shall not disturb the others. The container is deaf to the signal that asks it
        # to end, so the first Ctrl-C waits for the whole grace, unless there is a second.
        script = """
import os, signal, sys, threading, time, mpimg

def handler(signum, frame):
    presses.append(time.monotonic())
    if len(presses) == 1:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    raise KeyboardInterrupt

presses = []
signal.signal(signal.SIGINT, handler)
container = mpimg.Mpimg(home=sys.argv[1]).run("deaf:1")
next(container.logs(follow=True))
try:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    container.stop(grace=600)
except KeyboardInterrupt:
    print(len(presses), time.monotonic() - presses[-1] < 60)
container.remove()
"""
        deaf = self.shell("deaf", "STOPSIGNAL SIGUSR1\nCMD [\"sh\", \"-c\", \"trap '' USR1; echo deaf; sleep 600\"]")
        self.mpimg.build(deaf, names=["deaf:1"])
        command = [sys.executable, "-c", script, str(self.folder / "store")]
        self.assertEqual(subprocess.check_output(command, text=True, timeout=120), "2 True\n")

    def test_a_token_cancels_the_work_of_another_thread(self) -> None:
        token = mpimg.CancellationToken()
        cancellable = mpimg.Mpimg(home=self.folder / "store", cancel=token)
        timers: list[threading.Timer] = []

        def cancel_later(event: mpimg.Event) -> None:
            if isinstance(event, Printed):
                timers.append(threading.Timer(0.1, token.cancel))
                timers[-1].start()

        with self.assertRaises(mpimg.InterruptedError):
            cancellable.build(self.slow(), progress=cancel_later)
        self.assertTrue(token.is_cancelled())
        self.assert_nothing_is_left()
        with self.assertRaises(mpimg.InterruptedError):
            cancellable.build(self.folder / "slow")


class Threads(Case):
    def test_two_threads_push_at_once_and_others_run_meanwhile(self) -> None:
        barrier = threading.Barrier(2)
        held: list[int] = []
        digests: list[str] = []

        def both_are_inside(event: mpimg.Event) -> None:
            # Passes only if the other thread's push is under way while this one's is: neither holds the GIL or a lock.
            if isinstance(event, Started) and threading.get_ident() not in held:
                held.append(threading.get_ident())
                barrier.wait(60)

        def push(name: str) -> None:
            pushed = self.mpimg.push(self.project, f"{REGISTRY}/py/{name}", progress=both_are_inside)
            digests.append(pushed.digest)

        threads = [threading.Thread(target=push, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(digests), 2)
        self.assertEqual(len(set(digests)), 1)

    def test_another_thread_runs_while_rust_works(self) -> None:
        seen = threading.Event()

        def end_the_build() -> None:
            # Runs only if the thread below does not hold the GIL while its RUN sleeps.
            seen.set()

        timer = threading.Timer(0.5, end_the_build)

        def start(event: mpimg.Event) -> None:
            if isinstance(event, Printed):
                timer.start()
                threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()

        with self.assertRaises(KeyboardInterrupt):
            self.mpimg.build(self.slow(), progress=start)
        self.assertTrue(seen.is_set())


if __name__ == "__main__":
    unittest.main()
