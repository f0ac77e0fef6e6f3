"""Runs the Integration SDK's own `mp-build` with mpimg in place of Docker: `python -m mpimg.mp_build [ARGS…]`.

The SDK stays as it was installed. Before its modules bind their names, four functions of its `docker_wrapper` are replaced
(`init`, `login`, `build_image`, `push_image`); the client that `init` returns does the rest: `images.get`, `images.prune`,
`containers.run`, and of a container `kill`, `remove` and `stats`.

Refuses to build anything with an SDK whose use of Docker it does not know (see `mpimg.sdk_compatibility`).
"""

import argparse
import atexit
import inspect
import json
import os
import signal
import sys
import threading
from types import ModuleType
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

from . import sdk_compatibility
from .build_report import BuildReport
from .speculative_build import SpeculativeBuild
from .docker_shim import Client, Engine, EngineError, Image

#: The tools of the SDK that can be run, by the name of their module.
TOOLS = {"mp_build": "mp-build", "mp_test": "mp-test"}


def main(arguments: Optional[Sequence[str]] = None, tool: str = "mp_build") -> NoReturn:
    """Runs a tool of the SDK with these arguments (those of this process, if none are given); ends as it ends."""
    options, rest = _parse(sys.argv[1:] if arguments is None else list(arguments), TOOLS[tool])
    if tool == "mp_test" and not {"-h", "--help", "-V", "--version"} & set(rest) and not (sys.stdin.isatty() and sys.stdout.isatty()):
        # It would draw and wait for ever.
        print("error: mp-test of the Integration SDK works on a terminal alone", file=sys.stderr)
        print("hint: in a script or a CI job, give it one: script -qec 'TERM=dumb mpimg mp-test -c CONNECTION collect' /dev/null", file=sys.stderr)
        sys.exit(1)
    if tool == "mp_build":
        report = BuildReport(options.json, options.digest_file, options.require_anonymous_pull)
    else:
        report = BuildReport(False, None, False)
    try:
        wrong = wrong_folder(rest)
        if tool == "mp_build":
            wrong = wrong or wrong_repository(rest) or wrong_field(rest)
        if wrong is not None:
            raise EngineError(wrong[0], hint=wrong[1])
        version = sdk_compatibility.installed_version()
        sdk_compatibility.check_compatibility(sdk_compatibility.installed_folder(), version)
        # The SDK of this Python is the one whose base images mpimg builds.
        os.environ.setdefault("MPIMG_PYTHON", sys.executable)
        engine = Engine.find(options)
    except (sdk_compatibility.CompatibilityError, EngineError) as error:
        report.fail(error)
    # A job that is cancelled stops its container, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(engine.stop_all)
    if tool == "mp_build":
        if options.sdk_base is None:
            ask_for_sdk_base(engine, rest)
        # With these the product asks by plain HTTP on port 8080, as mp-build does.
        engine.wants_trial = not {"-i", "--insecure-collector-communication"} & set(rest)
        SpeculativeBuild.begin(engine, rest)
    # Only now: the SDK's modules take longer to read than the adapter to start.
    import importlib

    docker_wrapper = importlib.import_module(f"{sdk_compatibility.SDK}.docker_wrapper")
    install_shim(docker_wrapper, engine, report)
    sys.argv = [TOOLS[tool], *rest]
    module = importlib.import_module(f"{sdk_compatibility.SDK}.{tool}")
    if tool == "mp_build":
        keep_pull_repository(module)
        report.watch(module)

    def end(code: int) -> None:
        if code == 0 and engine.trial is not None:
            report.as_product = engine.trial.result()
        report.error = report.error or engine.error
        report.end(code)

    try:
        module.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        end(code)
        raise
    end(0)
    _leave()


def _leave() -> NoReturn:
    """Ends with 0 as Python does, but leaves the memory to the kernel: taking the SDK's modules apart takes 0.1 s."""
    # What Python waits for first: threads, among them those of the SDK's executors.
    wait_for_threads = getattr(threading, "_shutdown", None)
    if wait_for_threads is not None:
        wait_for_threads()
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        except OSError:
            # Nobody listens any more: Python has its own way to say so.
            pass
    sys.exit(0)


def install_shim(docker_wrapper: ModuleType, engine: Engine, report: Optional[BuildReport] = None) -> None:
    """Replaces what `docker_wrapper` does with Docker. Modules that were imported before keep what they have."""
    engine.log = docker_wrapper.logger.log
    wrapper = _DockerWrapper(docker_wrapper, engine, report)
    for name in ("init", "login", "build_image", "push_image"):
        setattr(docker_wrapper, name, getattr(wrapper, name))


def keep_pull_repository(mp_build: ModuleType) -> None:
    """Has the .pak and config.json name the repository that the product pulls from, also where the image is pushed to another.

    mp-build writes the one that it pushed to into both, against its own documentation of `container_push_repository`.
    """
    original = getattr(mp_build, "_tag_and_push", None)
    try:
        known = list(inspect.signature(original).parameters)[:4] if original else []
    except (TypeError, ValueError):
        known = []
    if known != ["image", "container_push_registry_arg", "container_registry_arg", "config_file"]:
        return

    def tag_and_push(image: Any, push_argument: Any, pull_argument: Any, config_file: str, *rest: Any, **kwargs: Any) -> Any:
        configured = mp_build.get_config_value("container_repository", config_file=config_file)
        pull = _with_docker_hub(mp_build, pull_argument or configured)
        push = push_argument or mp_build.get_config_value("container_push_repository", config_file=config_file)
        push = _with_docker_hub(mp_build, push) or pull
        pushed = original(image, push_argument, pull_argument, config_file, *rest, **kwargs)  # type: ignore[misc]
        if not pull or push == pull:
            return pushed
        mp_build.set_config_value(key="container_repository", value=configured or pull, config_file=config_file)
        parts = mp_build.ContainerRegistryValidator.get_container_registry_components(pull)
        mp_build.logger.warning(f"The image was pushed to {push}; the product pulls it from {pull}, which must have it under the same digest")
        return parts["domain"], parts["port"], parts["path"], pushed[3]

    mp_build._tag_and_push = tag_and_push  # type: ignore[attr-defined]


def _with_docker_hub(mp_build: ModuleType, repository: Optional[str]) -> Optional[str]:
    """A repository with its host: mp-build takes `namespace/name` for one of Docker Hub."""
    is_docker_hub = getattr(mp_build, "_is_docker_hub_registry_format", lambda _: False)
    if repository and is_docker_hub(repository) and not repository.startswith("docker.io"):
        return f"docker.io/{repository}"
    return repository


def wrong_folder(arguments: Sequence[str]) -> Optional[Tuple[str, str]]:
    """What is wrong with the folder that `-p` names. mp-build would take the current one in its place, or ask for another."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", "--path")
    try:
        folder = parser.parse_known_args(list(arguments))[0].path
    except SystemExit:
        # The SDK's tool says so at once.
        return None
    if not folder or {"-h", "--help", "-V", "--version"} & set(arguments):
        return None
    if not os.path.isdir(folder):
        return f"`{folder}` is not a folder", "name the project's folder with -p"
    if not os.path.isfile(os.path.join(folder, "manifest.txt")) and os.path.isfile("manifest.txt"):
        return f"`{folder}` is not a project, and the current folder is another one", "name the project's folder with -p"
    return None


def wrong_field(arguments: Sequence[str]) -> Optional[Tuple[str, str]]:
    """What is wrong with the project's manifest.txt, and the remedy. mp-build sees these only when the image is pushed already."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", "--path", default=".")
    try:
        folder = parser.parse_known_args(list(arguments))[0].path
        file = os.path.join(folder, "manifest.txt")
        with open(file, encoding="utf-8") as text:
            manifest = dict(json.load(text))
    except (SystemExit, OSError, ValueError, TypeError):
        # mp-build says so at once.
        return None
    version = str(manifest.get("version", "")).strip()
    if len([part for part in version.split(".") if part]) < 3 or "" in version.split("."):
        return f"`{file}` has the version `{version}`, which is not of the form x.y.z", "write `version` as three numbers with dots, such as 1.0.0"
    kinds = manifest.get("adapter_kinds")
    # On a terminal the SDK offers to correct it.
    if isinstance(kinds, list) and len(kinds) != 1 and ("--no-ttl" in arguments or not sys.stdin.isatty()):
        if not kinds:
            return f"`{file}` names no adapter kind", "set `adapter_kinds` in it to a list that holds the adapter kind key of describe.xml"
        names = ", ".join(str(kind) for kind in kinds)
        remedy = "leave one in `adapter_kinds`: a management pack has one container, and a container one adapter kind"
        return f"`{file}` names {len(kinds)} adapter kinds: {names}", remedy
    for key in ("eula_file", "pak_icon"):
        name = manifest.get(key)
        if name and not os.path.isfile(os.path.join(folder, str(name))):
            return f"`{file}` names the file `{name}` as `{key}`, which is not in the project", f'add the file, or leave `{key}` empty: ""'
    return None


def wrong_repository(arguments: Sequence[str]) -> Optional[Tuple[str, str]]:
    """What is wrong with a repository that the arguments or config.json name. mp-build sees that when the image is built and tried."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", "--path", default=".")
    for flags in (("-r", "--registry-tag"), ("--push-registry",)):
        # As the SDK has them: without a value it asks.
        parser.add_argument(*flags, nargs="?", const="")
    try:
        known = parser.parse_known_args(list(arguments))[0]
    except SystemExit:
        # The SDK's tool says so at once.
        return None
    configured: Dict[str, Any] = {}
    try:
        with open(os.path.join(known.path, "config.json"), encoding="utf-8") as text:
            configured = dict(json.load(text))
    except (OSError, ValueError, TypeError):
        # There need not be one.
        pass
    for repository in (
        known.registry_tag or configured.get("container_repository"),
        known.push_registry or configured.get("container_push_repository"),
    ):
        wrong = _wrong_reference(repository) if isinstance(repository, str) and repository else None
        if wrong is not None:
            return wrong
    return None


def _wrong_reference(repository: str) -> Optional[Tuple[str, str]]:
    scheme, found, rest = repository.partition("://")
    if found:
        return f"`{repository}` is an address, not an image reference", f"leave out the `{scheme}://`: `{rest}`"
    host, slash, path = repository.partition("/")
    if not slash or not path:
        return f"`{repository}` is a host without a path", f"write it as HOST[:PORT]/PATH: `{host}/project/adapter`"
    _, colon, tag = repository.rsplit("/", 1)[1].partition(":")
    if colon:
        return f"`{repository}` has a tag", f"leave `:{tag}` out: mp-build's tag is the version and the time"
    return None


def ask_for_sdk_base(engine: Engine, arguments: Sequence[str]) -> None:
    """Asks on a terminal whether to build on the installed SDK's base image, where that of the Dockerfile is gone."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or "--no-ttl" in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-p", "--path", default=".")
    try:
        gone = engine.replaceable_base(parser.parse_known_args(list(arguments))[0].path)
        if gone is None:
            return
        question = f"`{gone[0]}` is gone. Build on `{gone[1]}` of the installed SDK instead? [Y/n] "
        if input(question).strip().lower() in ("", "y", "yes"):
            engine.use_installed_base()
    except (SystemExit, EOFError):
        pass


def _parse(arguments: List[str], program: str) -> Tuple[argparse.Namespace, List[str]]:
    """mpimg's own options, and what is left for the SDK's tool."""
    parser = argparse.ArgumentParser(
        prog=program, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS, argument_default=None
    )
    group = parser.add_argument_group(f"options of mpimg, beside those of {program}")
    group.add_argument("--no-cache", action="store_true", help="do every step of the Dockerfile again")
    group.add_argument(
        "--cache-max-age",
        metavar="AGE",
        default="24h" if program == "mp-build" else None,
        help="do a RUN again whose result is this old: 30m, 7d; 0 for any age" + (" (default: 24h)" if program == "mp-build" else ""),
    )
    group.add_argument("--cache-repo", metavar="HOST/PATH", help="share results of steps with other machines through this repository")
    if program == "mp-build":
        sbom = "bill of materials, what is installed in the image"
        group.add_argument("--sbom", choices=("spdx", "cyclonedx"), help=f"attach a {sbom}, to the image in its registry")
        group.add_argument("--sbom-file", metavar="FILE", type=_sbom_file, help=f"write a {sbom}, to FILE.spdx.json or FILE.cdx.json")
        group.add_argument("--json", action="store_true", help="print one JSON object on standard output, also for an error")
        group.add_argument("--digest-file", metavar="FILE", type=_writable_file, help="write the digest of the pushed image to this file")
        group.add_argument(
            "--require-anonymous-pull", action="store_true", help="fail if the pushed image cannot be pulled without logging in"
        )
    group.add_argument("--sdk-base", metavar="PLACE", help="where the SDK's base images come from: `installed`, HOST/PATH, or `as-written`")
    group.add_argument("--run-ca-file", metavar="FILE", type=_readable_file, action="append", default=[], help="let RUN trust this certificate authority, too")
    group.add_argument("--run-env", metavar="NAME[=VALUE]", action="append", default=[], help="set a variable for RUN alone")
    group.add_argument(
        "--run-mount", metavar="SOURCE:TARGET", action="append", default=[], help="let RUN see a file or folder of this machine, read-only"
    )
    group.add_argument("--isolation", metavar="KIND", help="how RUN and the adapter are isolated: see `mpimg doctor`")
    group.add_argument(
        "--allow-secret-file", metavar="PATH", action="append", default=[], help="let this file enter the image although it looks like a secret"
    )
    group.add_argument("--ca-file", metavar="FILE", type=_readable_file, help="trust these certificate authorities, too")
    group.add_argument("--insecure-registry", metavar="HOST[:PORT]", action="append", default=[], help="reach this registry by plain HTTP")
    group.add_argument("--registry-mirror", metavar="HOST", action="append", default=[], help="ask this mirror before Docker Hub")
    options, rest = parser.parse_known_args(arguments)
    if "-h" in rest or "--help" in rest:
        parser.print_help()
        print()
    return options, rest


def _readable_file(text: str) -> str:
    """A file that is there, by its absolute path."""
    try:
        with open(text, "rb"):
            return os.path.abspath(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read `{text}`: {error.strerror}") from None


def _sbom_file(text: str) -> str:
    """A file that the push at the end will be able to write. The SDK works in folders of its own: it must not depend on them."""
    if not text.endswith((".spdx.json", ".cdx.json")):
        raise argparse.ArgumentTypeError(f"`{text}` does not tell its form: name it FILE.spdx.json or FILE.cdx.json")
    return _writable_file(text)


def _writable_file(text: str) -> str:
    """A file in a folder that can be written to, by its absolute path."""
    path = os.path.abspath(text)
    if not os.access(os.path.dirname(path), os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write in `{os.path.dirname(path)}`")
    return path


class _DockerWrapper:
    """The functions that stand in for those of the SDK's `docker_wrapper`, under their names."""

    def __init__(self, docker_wrapper: ModuleType, engine: Engine, report: Optional[BuildReport] = None) -> None:
        self._sdk = docker_wrapper
        self._engine = engine
        self._report = report or BuildReport(False, None, False)

    def init(self) -> Client:
        """The stand-in for Docker's client."""
        return Client(self._engine)

    def login(self, **kwargs: Any) -> str:
        """Logs in as `docker login` does; without a name, what is stored or needed by the registry decides."""
        registry = kwargs.get("container_registry")
        print(f"Login into {registry}" if registry else "Login into Docker Hub")
        # Docker takes whatever comes before the first slash, too.
        host = registry.split("/")[0] if registry else "docker.io"
        name, password = kwargs.get("registry_username"), kwargs.get("registry_password")
        try:
            if name is None:
                if not registry:
                    # Docker Hub. mp-build logs in to the repository there next: what is stored may do.
                    return host
                refused = self._engine.push_error(registry)
                if refused is None:
                    return str(registry)
                if refused.kind != "auth" or not sys.stdin.isatty():
                    raise refused
            self._engine.login(host, name, password)
        except EngineError as error:
            self._report.error = error
            # mp-build shows nothing of a LoginError where it comes from here: docker's command wrote to the terminal.
            print(error.full(), *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
            raise self._sdk.LoginError(error.full(), error.hint) from None
        return str(registry or host)

    def build_image(
        self, client: Client, path: str, nocache: bool = True, labels: Optional[Dict[str, str]] = None, **kwargs: Any
    ) -> Tuple[Image, List[Dict[str, str]]]:
        """Builds the folder `path` in the way of the SDK; the image, and no log."""
        ensure = getattr(self._sdk, "ensure_base_image_exists", None)
        language = _base_adapter(path) if ensure else None
        if ensure and language:
            ensure(language)
        try:
            return client.images.build(path, kwargs.get("tag"), nocache, labels or {}), []
        except EngineError as error:
            self._report.error = error
            message = f"ERROR: Unable to build Docker file at {path}:\n {error.full()}"
            if error.where():
                message += f"\n {error.where()}"
            if error.output:
                message += f"\n{error.output}"
            raise self._sdk.BuildError(message=message, recommendation=error.hint) from None

    def push_image(self, client: Client, repository: str, tag: str) -> str:
        """Pushes an image that was tagged so; its digest in the registry."""
        try:
            # Its own warning says if the product could not pull it.
            pushed = client.images.push(repository, tag, self._report.require_anonymous_pull)
        except EngineError as error:
            self._report.error = error
            raise self._sdk.PushError(message=error.full(), recommendation=error.hint) from None
        self._report.pushed(pushed)
        return str(pushed["digest"])


def _base_adapter(path: str) -> Optional[str]:
    """The language of the SDK's base image that the Dockerfile builds on, found as SDK 1.3 finds it."""
    import re

    dockerfile = os.path.join(path, "Dockerfile")
    if os.path.exists(dockerfile):
        with open(dockerfile, encoding="utf-8", errors="replace") as file:
            for line in file:
                found = re.search(r"base-adapter:([a-zA-Z]+)-", line) if line.startswith("FROM ") else None
                if found:
                    return found.group(1)
    return None


if __name__ == "__main__":
    main()
