"""A shim of Docker's client, images and containers for the Integration SDK's tools; the `mpimg` command does the work.

`Engine` is the only one that runs mpimg; the other classes have the shapes that the SDK reads, and no more: what it does not
use is an error that says so. Refuses to print: that is the SDK's.
"""

import http.client
import importlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from argparse import Namespace
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, cast

from .as_product import ProductTrial
from .command import find as installed_command

#: How long an adapter may take to answer, in seconds: as long as mp-build would ask for it.
STARTUP = 20


class EngineError(Exception):
    """mpimg failed: message, causes, `hint` (the remedy, may be empty), `output` (of the step that failed), and its place in a file."""

    def __init__(
        self,
        message: str,
        causes: Optional[List[str]] = None,
        hint: str = "",
        output: str = "",
        kind: str = "",
        place: Optional[Dict[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        self.causes = causes or []
        self.hint = hint
        self.output = output
        self.kind = kind
        #: `file`, `line` and `text`; empty if it is about no line of a file.
        self.place = {key: place[key] for key in ("file", "line", "text") if place.get(key) is not None} if place else {}

    def where(self) -> str:
        """The line that it is about: ``Dockerfile:3: RUN make``; empty if there is none."""
        if not self.place:
            return ""
        return "{file}:{line}: {text}".format(**{"file": "", "line": "", "text": "", **self.place})

    def full(self) -> str:
        """The message with its causes, on one line."""
        return ": ".join([str(self), *self.causes])


class Engine:
    """Runs the `mpimg` command, always for one JSON answer."""

    def __init__(self, command: str, options: Namespace) -> None:
        self._command = command
        self._options = options
        self._containers: List["Container"] = []
        #: Warnings that were shown.
        self._shown: Set[str] = set()
        #: Names of this process alone, by the names that mp-build knows: another mp-build may take those for its own image meanwhile.
        self._own_names: Dict[str, str] = {}
        #: Folders that were built in order to be tried.
        self._tried: Set[str] = set()
        #: Whether the adapter's image is in its registry.
        self.pushed = False
        #: Whether what is pushed is tried as the product runs it.
        self.wants_trial = False
        #: The last image's trial as the product runs it, from its push on.
        self.trial: Optional[ProductTrial] = None
        #: How much memory an adapter may have, as mp-build says it.
        self.memory = "1024m"
        #: What was begun before mp-build asked for it: an `speculative_build.SpeculativeBuild`.
        self.speculative_build: Any = None
        #: Why the adapter could not be tried, once mp-build was told.
        self.error: Optional[EngineError] = None
        #: Where warnings go, with a level of `logging`: the SDK's log shows them.
        self.log: Callable[[int, str], None] = logging.getLogger(__name__).log

    @classmethod
    def find(cls, options: Namespace) -> "Engine":
        """The command that started this, else the one installed with this package, else one on the PATH."""
        command = os.environ.get("MPIMG_COMMAND") or installed_command() or shutil.which("mpimg")
        if not command:
            raise EngineError("the command `mpimg` is not on the PATH", hint="install the wheel again: pip install --force-reinstall aria_mpimg-*.whl")
        return cls(str(command), options)

    def run(self, *arguments: str, stdin: Optional[str] = None) -> Dict[str, Any]:
        """Runs a command of mpimg; its answer."""
        done = subprocess.run(
            # Before the rest: what follows the image of `mpimg run` is the container's.
            [self._command, "--json", "--progress", "none", "--color", "never", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        notes = done.stderr.strip()
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise EngineError(f"`mpimg {arguments[0]}` ended with {done.returncode} and no answer", output=notes) from None
        if done.returncode != 0:
            # A command that had answered before it failed says why on standard error.
            error = answer.get("error") or _error_in(notes)
            message, kind = error.get("message") or "mpimg failed", error.get("kind") or ""
            raise EngineError(message, error.get("causes"), error.get("hint") or "", notes, kind, error)
        for message in _messages(notes):
            # The second build of a folder warns of what the first did.
            shown = message.startswith("warning:") and arguments[0] != "login" and message not in self._shown
            self._shown.add(message)
            self.log(logging.WARNING if shown else logging.DEBUG, message)
        return dict(answer)

    def has_image(self, name: str) -> bool:
        """Whether the local store has an image of that name and tag."""
        return bool(self.run("images", name)["images"])

    def begin_trial(self, image: str) -> None:
        """Begins to try an image as the product runs it, unless that is what is being tried."""
        if not self.wants_trial or (self.trial is not None and self.trial.image == image):
            return
        if self.trial is not None:
            self.trial.stop()
        arguments = ["check", "--as-product", image, f"--memory={self.memory}", *self.isolation_flags()]
        self.trial = ProductTrial(image, [self._command, "--json", "--progress", "none", "--color", "never", *arguments], self.log)

    def output(self, *arguments: str) -> str:
        """What a command prints that has no answer in JSON, on either stream."""
        command = [self._command, *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode("utf-8", "replace")

    def registry_flags(self) -> List[str]:
        """What the user said of registries."""
        flags = [f"--insecure-registry={host}" for host in self._options.insecure_registry]
        flags += [f"--registry-mirror={host}" for host in self._options.registry_mirror]
        return flags + ([f"--ca-file={self._options.ca_file}"] if self._options.ca_file else [])

    def push_flags(self) -> List[str]:
        """What the user said of the push."""
        flags = [f"--sbom={self._options.sbom}"] if self._options.sbom else []
        flags += [f"--sbom-file={self._options.sbom_file}"] if self._options.sbom_file else []
        return flags + self.registry_flags()

    def build_flags(self, path: str, nocache: bool, to_try: bool) -> List[str]:
        """What the user said of builds, and what may come from the build cache."""
        anew: List[str] = []
        # What is built of a folder after it was tried is what was tried.
        if path not in self._tried:
            if self._options.no_cache or (nocache and not to_try):
                anew = ["--no-cache"]
            elif to_try and self._options.cache_max_age:
                anew = [f"--cache-max-age={self._options.cache_max_age}"]
        if to_try:
            self._tried.add(path)
        flags = [f"--allow-secret-file={file}" for file in self._options.allow_secret_file]
        flags += [f"--cache-repo={self._options.cache_repo}"] if self._options.cache_repo else []
        flags += [f"--run-ca-file={file}" for file in self._options.run_ca_file]
        flags += [f"--run-env={pair}" for pair in self._options.run_env]
        flags += [f"--run-mount={mount}" for mount in self._options.run_mount]
        flags += [f"--sdk-base={self._options.sdk_base}"] if self._options.sdk_base else []
        return flags + anew + self.isolation_flags() + self.registry_flags()

    def replaceable_base(self, path: str) -> Optional[Tuple[str, str]]:
        """A base image of the folder's Dockerfile that cannot be had, and what the installed SDK builds instead."""
        try:
            for change in self.run("migrate", "--dry-run", path)["changes"]:
                if not self.has_image(change["from"]):
                    return change["from"], change["to"]
        except EngineError:
            # The build says what is wrong.
            pass
        return None

    def has_base_repository(self) -> bool:
        """Whether base images come from a repository."""
        return "/" in (self._options.sdk_base or "")

    def use_installed_base(self) -> None:
        """Builds on the installed SDK's base image from now on."""
        self._options.sdk_base = "installed"

    def name(self, known: str, own: str) -> None:
        """Remembers by which name of this process alone an image is had."""
        self._own_names[known] = own

    def own_name(self, known: str) -> str:
        """That name; the known one of an image that this process did not make."""
        return self._own_names.get(known, known)

    def isolation_flags(self) -> List[str]:
        """How the user wants processes isolated."""
        return [f"--isolation={self._options.isolation}"] if self._options.isolation else []

    def push_error(self, repository: str) -> Optional[EngineError]:
        """Why the registry would not take images with the credentials that are stored, or without any; nothing if it would."""
        if ":" in repository.rsplit("/", 1)[-1] and "/" in repository:
            tag = repository.rsplit(":", 1)[1]
            return EngineError(
                f"`{repository}` has a tag",
                hint=f"leave `:{tag}` out: mp-build's tag is the version and the time",
                kind="usage",
            )
        try:
            self.run("check", repository, *self.registry_flags())
        except EngineError as error:
            # The last of the checks, whether the product can pull, is not about the push: that warns of it, or fails if it must.
            return None if error.causes and error.causes[0].startswith("anonymous pull: ") else error
        return None

    def login(self, host: str, name: Optional[str], password: Optional[str]) -> None:
        """Logs in and stores the credentials where docker has them; asks on a terminal for what is missing."""
        command = ["login", host, *self.registry_flags(), *([f"--username={name}"] if name is not None else [])]
        if name is not None and password is not None:
            # Not as an argument: those are seen by every user of the machine.
            self.run(*command, "--password-stdin", stdin=password)
        elif not sys.stdin.isatty():
            raise EngineError(
                f"cannot log in to `{host}`: there is no terminal to ask on",
                hint=f"give --registry-username and --registry-password, or log in before with `mpimg login {host}`",
            )
        elif subprocess.run([self._command, *command]).returncode != 0:
            raise EngineError(f"cannot log in to `{host}`")

    def started(self, container: "Container") -> None:
        """Remembers a container until it was stopped."""
        self._containers.append(container)

    def removed(self, container: "Container") -> None:
        """Forgets a container."""
        if container in self._containers:
            self._containers.remove(container)

    def check_adapters(self) -> None:
        """An error unless each adapter that runs is what answers on its port."""
        for container in self._containers:
            container.check()

    def stop_all(self) -> None:
        """Stops what still runs, and says nothing."""
        if self.speculative_build is not None:
            self.speculative_build.end()
        if self.trial is not None:
            self.trial.stop()
        for container in list(self._containers):
            try:
                container.remove()
            except EngineError as error:
                self.log(logging.DEBUG, str(error))
        if self._own_names:
            try:
                self.run("rm", "--force", *sorted(set(self._own_names.values())))
            except EngineError as error:
                self.log(logging.DEBUG, str(error))


def _error_in(notes: str) -> Dict[str, Any]:
    """The error that mpimg wrote to standard error, as its JSON has it."""
    error: Dict[str, Any] = {"causes": []}
    for line in notes.splitlines():
        for key, start in (("message", "error: "), ("hint", "hint: "), ("cause", "  caused by: ")):
            if line.startswith(start):
                text = line[len(start) :]
                if key == "cause":
                    error["causes"].append(text)
                else:
                    error[key] = text
    return error


def _messages(notes: str) -> List[str]:
    """What mpimg wrote to standard error, a warning together with its further lines and its hint."""
    messages: List[str] = []
    for line in notes.splitlines():
        if messages and messages[-1].startswith("warning:") and (line.startswith(" ") or line.startswith("hint:")):
            messages[-1] += f"\n{line}"
        else:
            messages.append(line)
    return messages


class _Shape:
    """Something of Docker's of which mpimg has only what the SDK uses."""

    def __getattr__(self, name: str) -> Any:
        raise EngineError(f"the SDK asks for docker's `{type(self).__name__}.{name}`, which mpimg does not have", hint="update mpimg")


class Client(_Shape):
    """What the SDK has of `docker.DockerClient`."""

    def __init__(self, engine: Engine) -> None:
        self.images = Images(engine)
        self.containers = Containers(engine)


class Images(_Shape):
    """What the SDK has of `DockerClient.images`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: str) -> "Image":
        """An image of the local store; `docker.errors.ImageNotFound` if there is none."""
        # Where base images come from a repository, the build of the project finds it there, or builds it.
        if self._engine.has_image(name) or (name.startswith("base-adapter:") and self._engine.has_base_repository()):
            return Image(self._engine, name)
        errors = importlib.import_module("docker.errors")
        raise cast(Exception, errors.ImageNotFound(f"there is no image `{name}` in the local store"))

    def build(self, path: str, tag: Optional[str], nocache: bool, labels: Dict[str, str]) -> "Image":
        """Builds a folder's Dockerfile, unless the speculative build has done it."""
        made = self._engine.speculative_build.image(path, tag, nocache) if self._engine.speculative_build is not None else None
        return made or self.make(path, tag, nocache, labels)

    def make(self, path: str, tag: Optional[str], nocache: bool, labels: Dict[str, str]) -> "Image":
        """Builds a folder's Dockerfile.

        mp-build wants the image that it tries from the cache and, a moment later, the one that it pushes without. Here the first
        does those steps again that are too old, and the second is the same, from the cache: what was tried is what is pushed.
        """
        own = f"mpimg-mp-build:{_this_process()}.{uuid.uuid4().hex[:12]}"
        flags = [f"--label={key}={value}" for key, value in labels.items()]
        flags += [f"--tag={name}" for name in (own, tag) if name]
        self._engine.run("build", path, *flags, *self._engine.build_flags(path, nocache, "mp-test" in labels))
        self._engine.name(tag or own, own)
        return Image(self._engine, own)

    def was_tried(self, tag: str) -> bool:
        """Whether there is an image under the name that a project is tried under."""
        try:
            return self._engine.has_image(tag)
        except EngineError:
            return False

    def push(self, repository: str, tag: str, require_anonymous_pull: bool = False) -> Dict[str, Any]:
        """Pushes an image that was given that name by this process."""
        # What the SDK has asked the adapter until now goes into the .pak: nothing is pushed that does not belong to it.
        self._engine.check_adapters()
        name = self._engine.own_name(f"{repository}:{tag}")
        self._engine.begin_trial(name)
        flags = [*self._engine.push_flags(), *(["--require-anonymous-pull"] if require_anonymous_pull else [])]
        pushed = self._engine.run("push", "--no-ttl", "--image", name, "-r", repository, "-t", tag, *flags)
        self._engine.pushed = True
        return pushed

    def prune(self, filters: Dict[str, str]) -> Dict[str, Any]:
        """Nothing: an image that lost its name takes no space but its configuration, until `mpimg prune`."""
        return {"ImagesDeleted": None, "SpaceReclaimed": 0}


class Image(_Shape):
    """What the SDK has of `docker.models.images.Image`: an image of the local store, known by a name of its own."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    @property
    def name(self) -> str:
        """A name that only this process knows."""
        return self._name

    def tag(self, repository: str, tag: str) -> bool:
        """Gives it the name that it is pushed under. Only this process needs to know it."""
        self._engine.name(f"{repository}:{tag}", self._name)
        return True

    def remove(self, force: bool = False) -> None:
        """Takes its name away."""
        self._engine.run("rm", "--force", self._name)


def _this_process() -> str:
    """This process as the store knows owners of names (src/store/transient.rs): once it is gone, its names go, too."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read(8)
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            start = file.read().rsplit(")", 1)[1].split()[19]
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}.{os.getpid()}.{start}"
    except (OSError, IndexError):
        return "unknown"


def _mount(source: str, target: str) -> str:
    """The flag of `mpimg run` that mounts a folder, which is made if it is missing."""
    if ":" not in source:
        return f"--volume={source}:{target}"
    # There the colon would end the path.
    os.makedirs(source, exist_ok=True)
    return f"--mount=type=bind,source={source},target={target}"


class Containers(_Shape):
    """What the SDK has of `DockerClient.containers`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(
        self, image: str, detach: bool, ports: Dict[str, int], mem_limit: str, memswap_limit: str, volumes: Dict[str, Dict[str, str]]
    ) -> "Container":
        """Starts an adapter, unless the speculative build has done it; answers when it does, when it ended, or after some seconds."""
        options: Dict[str, Any] = {"ports": ports, "mem_limit": mem_limit, "memswap_limit": memswap_limit, "volumes": volumes}
        try:
            made = self._engine.speculative_build.container(image, **options) if self._engine.speculative_build is not None else None
            return made or self.start(image, **options)
        except Exception as error:
            self._engine.error = getattr(error, "engine_error", None)
            raise

    def start(self, image: str, **options: Any) -> "Container":
        """Starts an adapter and waits for it."""
        container = self.launch(image, **options)
        self.wait(container, options["ports"]["8080/tcp"])
        return container

    def launch(
        self, image: str, ports: Dict[str, int], mem_limit: str, memswap_limit: str, volumes: Dict[str, Dict[str, str]]
    ) -> "Container":
        """Starts an adapter."""
        self._engine.memory = mem_limit
        flags = [f"--publish={ports['8080/tcp']}:8080", f"--memory={mem_limit}"]
        flags += [_mount(os.path.abspath(source), target["bind"].rstrip("/")) for source, target in volumes.items()]
        try:
            # Should this process be killed, the adapter goes with it.
            flags.append(f"--end-with={os.getpid()}")
            answer = self._engine.run("run", "--detach", *flags, *self._engine.isolation_flags(), self._engine.own_name(image))
        except EngineError as error:
            # mpimg's own remedy names a flag of `mpimg run`.
            hint = "stop what listens there, or give mp-build another port with -P" if error.kind == "network" else error.hint
            raise sdk_error(error.full(), hint, error.kind) from None
        container = Container(self._engine, answer["id"])
        self._engine.started(container)
        return container

    def wait(self, container: "Container", port: int) -> None:
        """Saves mp-build the half second that it sleeps when the adapter does not answer at once; removes what has ended."""
        try:
            self._wait(container, port)
        except BaseException:
            container.remove()
            raise

    def _wait(self, container: "Container", port: int) -> None:
        start = time.monotonic()
        looked = start
        while time.monotonic() < start + STARTUP:
            # Only what comes from this container counts: on this machine's network anybody may listen there.
            if _answers(port) and container.listens():
                return
            if time.monotonic() > looked + 0.2:
                looked = time.monotonic()
                container.check_running("before it answered")
            time.sleep(0.02)
        printed = container.last_lines()
        raise sdk_error(
            f"the adapter did not answer on port 8080 within {STARTUP} seconds; it printed" + (f":\n{printed}" if printed else " nothing"),
            "the adapter's server has to listen on port 8080 of all addresses: `mpimg run -p 8080:8080 IMAGE` shows how it starts",
        )


class Container(_Shape):
    """What the SDK has of `docker.models.containers.Container`."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._removed = False
        #: Processor time of the container and of the machine when it was last measured, in nanoseconds.
        self._last = (0, 0)

    def _info(self) -> Dict[str, Any]:
        """What `mpimg ps` tells of it; nothing once it was removed."""
        for found in self._engine.run("ps", "--all")["containers"]:
            if found["id"] == self._name:
                return dict(found)
        return {}

    def listens(self, found: Optional[Dict[str, Any]] = None) -> bool:
        """Whether it listens on all its ports. An error if another process does: that one would answer in its place."""
        ports = (self._info() if found is None else found).get("ports", [])
        for port in ports:
            if port["listener"] == "other":
                raise sdk_error(
                    f"port {port['host']} is taken by {port['listener_process'] or 'a process of another user'}, which answers in "
                    "place of the adapter",
                    "stop what listens there, or give mp-build another port with -P",
                    "network",
                )
        return bool(ports) and all(port["listener"] == "container" for port in ports)

    def check_running(self, when: str) -> Dict[str, Any]:
        """What is known of it; an error if it has ended."""
        found = self._info()
        if found.get("state") in ("starting", "running"):
            return found
        if found.get("out_of_memory"):
            how = "was killed: it reached its memory limit (`default_memory_limit` in config.json, in MB)"
        else:
            how = f"ended with exit code {found.get('status') or 137}"
        raise sdk_error(f"the adapter {how} {when}:\n{self.last_lines() if found else ''}".rstrip(":\n"), "")

    def check(self) -> None:
        """An error unless what answered the SDK until now was this container."""
        if not self.listens(self.check_running("while mp-build used it")):
            raise sdk_error("the adapter stopped listening while mp-build used it", "its output is in the project's folder `logs`")

    def last_lines(self) -> str:
        """The end of what it printed."""
        return self._engine.output("logs", "--tail", "20", self._name).rstrip()

    def kill(self) -> None:
        """Ends it at once, with all that it started."""
        if self._engine.pushed and sys.exc_info()[0] is None:
            # The last answer goes into the .pak, too.
            self.check()
        # The SDK removes it next, and asks it nothing in between.
        self.remove()

    def remove(self) -> None:
        """Takes away what is left of it, running or not."""
        if not self._removed:
            self._engine.run("stop", "--time", "0", "--rm", self._name)
            self._removed = True
        self._engine.removed(self)

    def stats(self, stream: bool) -> Dict[str, Any]:
        """What it uses, in the shape of Docker's API (as far as the SDK reads it)."""
        found = self._engine.run("stats", self._name)["containers"][0]
        while found["system_cpu_ns"] == self._last[1]:
            # The kernel counts in hundredths of a second; the SDK divides by the difference of two measurements.
            time.sleep(0.02)
            found = self._engine.run("stats", self._name)["containers"][0]
        # What used less than a hundredth of a second did use some: without any, mp-test has nothing to take the median of.
        self._last = (max(found["cpu_ns"], self._last[0] + 1), found["system_cpu_ns"])
        disk = [{"op": "Read", "value": found["read"]}, {"op": "Write", "value": found["written"]}]
        return {
            "blkio_stats": {"io_service_bytes_recursive": disk},
            "networks": {"eth0": {"rx_bytes": found["received"], "tx_bytes": found["sent"]}},
            "memory_stats": {"limit": found["memory_limit"], "usage": found["memory"]},
            "cpu_stats": {
                "cpu_usage": {"total_usage": self._last[0]},
                "system_cpu_usage": found["system_cpu_ns"],
                "online_cpus": found["processors"],
            },
        }


def _answers(port: int) -> bool:
    """Whether anything answers HTTP on this port."""
    try:
        # Proxies of the environment have no part in this.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://localhost:{port}/apiVersion", timeout=5)
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def sdk_error(message: str, hint: str, kind: str = "project") -> Exception:
    """What mp-build and mp-test show as a message and a recommendation; `engine_error` has the same for `--json`."""
    wrapper = importlib.import_module("vmware_aria_operations_integration_sdk.docker_wrapper")
    error = wrapper.DockerWrapperError(message, hint)
    error.engine_error = EngineError(message, hint=hint, kind=kind)
    return cast(Exception, error)
