"""What mpimg makes of an adapter's answers and of mp-build's repositories, with a stand-in for the `mpimg` command."""

import argparse
import importlib
import json
import os
import socket
import sys
import threading

from mpimg import docker_shim, mp_build

PROJECT = sys.argv[1]


class Engine(docker_shim.Engine):
    """Answers `mpimg ps` as it is told; every other command succeeds."""

    def __init__(self):
        super().__init__("none", argparse.Namespace(insecure_registry=[], registry_mirror=[], ca_file=None, isolation=None, sbom=None, sbom_file=None))
        self.info, self.failure = {}, None

    def run(self, *arguments, stdin=None):
        if self.failure is not None:
            raise self.failure
        return {"containers": [self.info]} if arguments[0] == "ps" else {}

    def output(self, *arguments):
        return "its last line"


def message(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return error.message
    return None


def serve(listener):
    while True:
        stream, _ = listener.accept()
        stream.recv(4096)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        stream.close()


listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
threading.Thread(target=serve, args=(listener,), daemon=True).start()
engine = Engine()
container, containers = docker_shim.Container(engine, "one"), docker_shim.Containers(engine)


def state(name, listens, process=None, **more):
    engine.info = {"id": "one", "state": name, "ports": [{"host": port, "listener": listens, "listener_process": process}], **more}


# Only the container's own answer counts.
state("running", "container")
assert message(containers._wait, container, port) is None
state("running", "other", "`other` (process 7)")
assert message(containers._wait, container, port) == f"port {port} is taken by `other` (process 7), which answers in place of the adapter"
state("running", "none")
docker_shim.STARTUP = 0.5
assert message(containers._wait, container, port) == "the adapter did not answer on port 8080 within 0.5 seconds; it printed:\nits last line"
state("ended", "none", status=137, out_of_memory=True)
assert "was killed: it reached its memory limit" in message(containers._wait, container, port)

# Neither is anything pushed, nor a .pak made, after another process has taken the port.
engine.started(container)
state("running", "other")
assert "in place of the adapter" in message(docker_shim.Images(engine).push, "h/x", "1")
assert not engine.pushed
state("running", "container")
docker_shim.Images(engine).push("h/x", "1")
state("ended", "none", status=3)
assert message(container.kill) == "the adapter ended with exit code 3 while mp-build used it:\nits last line"
engine.pushed = False

# A login is asked for where that can help; else the error is the registry's own.
wrapper = importlib.import_module("vmware_aria_operations_integration_sdk.docker_wrapper")
part = mp_build._DockerWrapper(wrapper, engine)
assert part.login(registry_username=None, registry_password=None) == "docker.io"
assert part.login(container_registry="docker.io/user/repo", registry_username=None) == "docker.io/user/repo"
assert message(lambda: part.login(container_registry="h/x:latest")) == "`h/x:latest` has a tag"
engine.failure = docker_shim.EngineError("`h/x` did not pass the check", ["dns: cannot find the host `h`"], "look", kind="network")
assert message(lambda: part.login(container_registry="h/x")) == "`h/x` did not pass the check: dns: cannot find the host `h`"
engine.failure = docker_shim.EngineError("`h/x` did not pass the check", ["anonymous pull: manifest 1: registry answered 401"], kind="auth")
assert part.login(container_registry="h/x", registry_username=None) == "h/x", "a repository that only some can pull from takes images"
engine.failure = None

# The product's repository stays apart from the one that is pushed to.
sdk = importlib.import_module("vmware_aria_operations_integration_sdk.mp_build")
config = {"container_repository": "user1/repo", "container_push_repository": "h:5000/pushed"}


def tag_and_push(image, container_push_registry_arg, container_registry_arg, config_file):
    config["container_repository"] = "h:5000/pushed"
    return "h", "5000", "pushed", "sha256:1"


sdk.get_config_value = lambda key, default=None, config_file=None: config.get(key)
sdk.set_config_value = lambda key, value, config_file: config.update({key: value})
sdk._tag_and_push = tag_and_push
mp_build.keep_pull_repository(sdk)
assert sdk._tag_and_push(None, None, None, "config.json") == ("docker.io", "", "user1/repo", "sha256:1")
assert config["container_repository"] == "user1/repo"
del config["container_push_repository"]
sdk._tag_and_push(None, None, "h:5000/pushed", "config.json")
assert config["container_repository"] == "h:5000/pushed", "without a push repository it is as mp-build has it"


# What is wrong with manifest.txt is told before anything is built.
def wrong(**manifest):
    with open(os.path.join(PROJECT, "manifest.txt"), "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    found = mp_build.wrong_field(["--no-ttl", "-p", PROJECT, "-P", "5"])
    return found and found[0].split("` ", 1)[1]


assert wrong(version="1.0.0", eula_file="", pak_icon=None) is None
assert wrong(version="1.0") == "has the version `1.0`, which is not of the form x.y.z"
assert wrong(version="1.0.0", eula_file="eula.txt") == "names the file `eula.txt` as `eula_file`, which is not in the project"
assert mp_build.wrong_field(["-p", os.path.join(PROJECT, "none")]) is None
print("all as it should be")
