"""Builds container images of Integration SDK adapter projects and pushes them to registries, with no Docker daemon.

>>> import mpimg
>>> project = mpimg.Project.open("my-adapter")
>>> pushed = mpimg.push(project, "harbor.example.com/mp/my-adapter")
>>> print(pushed.conf)

Functions of this module work with the user's own store and logins; :class:`Mpimg` has the same ones for others. The GIL is
released while they work; a ``progress`` callback hears of everything; Ctrl-C stops them with nothing half-written.

Errors are :class:`Error`, one class for each kind, with a ``hint``. Without a callback, warnings go to the logger ``mpimg``.
"""

from . import _mpimg, command, errors, events
from ._mpimg import CancellationToken
from .errors import (
    AuthError,
    ContextError,
    CorruptError,
    DockerfileError,
    Error,
    InterruptedError,
    IoError,
    NetworkError,
    NotFoundError,
    PolicyError,
    ProjectError,
    RegistryError,
    RunFailedError,
    SandboxError,
    SecretError,
    Snippet,
    StoreError,
    UnsupportedError,
    UsageError,
)
from .events import Event, ProgressCallback
from .machine import (
    BaseChange,
    ConfigurationFile,
    DoctorReport,
    IsolationCheck,
    LoadedImage,
    Migration,
    PruneReport,
    RegistryServer,
    StoredCredential,
)
from .operations import Mpimg
from .pak import Pak
from .project import Project
from .results import (
    Blob,
    BuiltImage,
    CheckItem,
    CheckReport,
    ConfEntries,
    CopiedImage,
    File,
    ImageAttestation,
    ImageDiff,
    InspectedImage,
    Layer,
    Manifest,
    Package,
    PulledImage,
    PushedImage,
    Sbom,
    StoredImage,
)
from .signing import FoundAttestation, FoundReferrer, FoundSignature, KeyFiles, Signed, VerifiedManifest
from .running import Container, ContainerInfo, LogEntry, Outcome, PortMapping, Stats

__version__ = _mpimg.__VERSION__

__all__ = [
    "AuthError",
    "BaseChange",
    "Blob",
    "BuiltImage",
    "CancellationToken",
    "CheckItem",
    "CheckReport",
    "ConfEntries",
    "ConfigurationFile",
    "Container",
    "ContainerInfo",
    "ContextError",
    "CopiedImage",
    "CorruptError",
    "DockerfileError",
    "DoctorReport",
    "Error",
    "Event",
    "File",
    "FoundAttestation",
    "FoundReferrer",
    "FoundSignature",
    "ImageAttestation",
    "ImageDiff",
    "InspectedImage",
    "InterruptedError",
    "IoError",
    "IsolationCheck",
    "KeyFiles",
    "Layer",
    "LoadedImage",
    "LogEntry",
    "Manifest",
    "Migration",
    "Mpimg",
    "NetworkError",
    "NotFoundError",
    "PolicyError",
    "Outcome",
    "Package",
    "Pak",
    "PortMapping",
    "ProgressCallback",
    "Project",
    "ProjectError",
    "PruneReport",
    "PulledImage",
    "PushedImage",
    "Sbom",
    "RegistryError",
    "RegistryServer",
    "RunFailedError",
    "SandboxError",
    "SecretError",
    "Signed",
    "Snippet",
    "Stats",
    "StoreError",
    "StoredCredential",
    "StoredImage",
    "UnsupportedError",
    "UsageError",
    "VerifiedManifest",
    "build",
    "check",
    "container",
    "containers",
    "copy",
    "doctor",
    "errors",
    "events",
    "generate_key",
    "images",
    "import_image",
    "inspect",
    "load",
    "login",
    "logout",
    "migrate",
    "packages",
    "pak_export",
    "pak_import",
    "pak_inspect",
    "prune",
    "pull",
    "push",
    "remove",
    "remove_remote",
    "run",
    "save",
    "serve",
    "sign",
    "tag",
    "tags",
    "verify",
]

_default = Mpimg()
build = _default.build
check = _default.check
container = _default.container
containers = _default.containers
copy = _default.copy
doctor = _default.doctor
generate_key = _default.generate_key
images = _default.images
import_image = _default.import_image
inspect = _default.inspect
load = _default.load
login = _default.login
logout = _default.logout
migrate = _default.migrate
packages = _default.packages
pak_export = _default.pak_export
pak_import = _default.pak_import
pak_inspect = _default.pak_inspect
prune = _default.prune
pull = _default.pull
push = _default.push
remove = _default.remove
remove_remote = _default.remove_remote
run = _default.run
save = _default.save
serve = _default.serve
sign = _default.sign
tag = _default.tag
tags = _default.tags
verify = _default.verify

_helper = command.find()
if _helper is not None:
    _mpimg.set_helper(str(_helper))
