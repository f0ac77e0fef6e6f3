"""Builds and starts the adapter while Python still reads the SDK's modules, so that it answers when mp-build asks.

A guess of what mp-build will do, from its arguments and the project's files. Refuses to decide anything: mp-build's own calls
take what was made if they ask for exactly that, and get the error that it met; otherwise it is undone.
"""

import argparse
import importlib
import json
import os
import threading
import time
from typing import Any, Dict, List, Optional

from .docker_shim import Container, Containers, Engine, Image, Images


class SpeculativeBuild:
    """One project's image and container, made in a thread of their own."""

    def __init__(self, engine: Engine, path: str, tag: str, options: Dict[str, Any]) -> None:
        self._engine, self._path, self._tag, self._options = engine, path, tag, options
        self._images: Dict[bool, Image] = {}
        self._container: Optional[Container] = None
        self._error: Optional[BaseException] = None
        self._built, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    @classmethod
    def begin(cls, engine: Engine, arguments: List[str]) -> None:
        """Begins, if `arguments` of mp-build name a project that was tried here before."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("-p", "--path", default=".")
        parser.add_argument("-P", "--port", type=int)
        for flag in ("-h", "--help", "-V", "--version"):
            if flag in arguments:
                return
        try:
            known, _ = parser.parse_known_args(arguments)
            path = os.path.abspath(known.path)
            manifest = _read(os.path.join(path, "manifest.txt"))
            tag = f"{manifest['name'].lower()}-test:{manifest['version']}"
            memory = int(_read(os.path.join(path, "config.json")).get("default_memory_limit") or 1024)
            port = known.port or int(_read(_global_config()).get("container_port") or 8080)
        except (SystemExit, OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        logs = os.path.join(path, "logs")
        # A first build says more, and may have to build the base image: that is mp-build's to begin.
        if os.path.isdir(logs) and Images(engine).was_tried(tag):
            options = {
                "ports": {"8080/tcp": port},
                "mem_limit": f"{memory}m",
                "memswap_limit": f"{memory + 512}m",
                "volumes": {logs: {"bind": "/var/log/", "mode": "rw"}},
            }
            engine.speculative_build = cls(engine, path, tag, options)

    def _work(self) -> None:
        try:
            images, containers = Images(self._engine), Containers(self._engine)
            self._images[False] = images.make(self._path, self._tag, False, {"mp-test": f"{time.time()}"})
            self._built.set()
            self._container = containers.launch(self._tag, **self._options)
            # The one to push, while the adapter starts.
            self._images[True] = images.make(self._path, None, True, {})
            containers.wait(self._container, self._options["ports"]["8080/tcp"])
            # Beside what mp-build asks the adapter, not before it answers: both want the processor.
            self._engine.begin_trial(self._images[True].name)
        except BaseException as error:
            self._error = error
        finally:
            self._built.set()
            self._done.set()

    def image(self, path: str, tag: Optional[str], nocache: bool) -> Optional[Image]:
        """The image, if that is what is asked for; raises what building it raised."""
        if (os.path.abspath(path), tag) != (self._path, None if nocache else self._tag):
            return None
        (self._done if nocache else self._built).wait()
        image = self._images.pop(nocache, None)
        if image is None and not nocache and self._error is not None:
            raise self._error
        return image

    def container(self, image: str, **options: Any) -> Optional[Container]:
        """The container, if that is what is asked for; raises what starting it raised. Else it is removed."""
        threading.Thread(target=self._read_schema, daemon=True).start()
        self._done.wait()
        container, self._container = self._container, None
        if (image, options) == (self._tag, self._options):
            if self._error is not None:
                raise self._error
            return container
        if container is not None:
            container.remove()
        return None

    def _read_schema(self) -> None:
        """Has xmlschema make ready what mp-build checks describe.xml with: the schema of schemas, and compiled expressions.

        That takes 0.2 s, once in a process. mp-build waits for the adapter now, for its start and then for its definition.
        """
        try:
            importlib.import_module("xmlschema").XMLSchema11(os.path.join(self._path, "conf", "describeSchema.xsd"))
        except Exception:
            # Whatever is wrong with it, mp-build says so.
            return

    def end(self) -> None:
        """Waits until there is nothing more that it could make, and takes away what nobody wanted."""
        self._done.wait()
        unwanted = self._images.pop(True, None)
        if unwanted is not None:
            unwanted.remove()


def _read(path: str) -> Dict[str, Any]:
    """A file of JSON; empty where there is none, unless it is the manifest."""
    if not os.path.exists(path) and os.path.basename(path) == "config.json":
        return {}
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))


def _global_config() -> str:
    return os.path.join(os.environ.get("HOME", ""), ".vmware-aria-operations-integration-sdk", "config.json")
