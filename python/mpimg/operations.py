"""What mpimg does: build, push, and the rest. The same words as Rust's ``mpimg::operation`` and the command line."""

from __future__ import annotations

import json
import os
from typing import Literal, Mapping, Optional, Sequence, Tuple

from . import _mpimg
from .build_options import BuildOptions, Folder, folder_of
from .containers import Containers
from .pak import Paks
from .machine import Machine
from .events import ProgressCallback
from .signing import Signing
from .project import StrPath
from .results import (
    Blob,
    BuiltImage,
    CheckItem,
    CheckReport,
    ConfEntries,
    CopiedImage,
    File,
    ImageDiff,
    ImageAttestation,
    InspectedImage,
    Layer,
    Manifest,
    Package,
    PulledImage,
    PushedImage,
    Sbom,
    StoredImage,
)

__all__ = ["Mpimg"]


class Mpimg(Containers, Machine, Paks, Signing):
    """The local store and the way to registries. Holds no connection: cheap to make, and safe to use from several threads."""

    def __init__(
        self,
        *,
        home: Optional[StrPath] = None,
        ca_files: Sequence[StrPath] = (),
        insecure_registries: Sequence[str] = (),
        registry_mirrors: Sequence[str] = (),
        credentials: Optional[Mapping[str, Tuple[str, str]]] = None,
        cancel: Optional[_mpimg.CancellationToken] = None,
    ) -> None:
        """
        :param home: the local store's folder; without it ``$MPIMG_HOME``, else ``mpimg`` in the XDG data folder
        :param ca_files: PEM files with certificate authorities to trust, too
        :param insecure_registries: registries (``host[:port]``) to reach by plain HTTP or with a certificate that does not
            verify; loopback addresses need no mention
        :param registry_mirrors: mirrors to ask before Docker Hub: ``host[:port][/path]``
        :param credentials: user name and password or token by registry; without one, those that docker, podman or
            ``mpimg login`` have stored
        :param cancel: its ``cancel()`` ends every operation from another thread: :class:`InterruptedError`, with nothing half-written
        """
        self._options: _mpimg.Options = {
            "home": None if home is None else os.fspath(home),
            "ca_files": [os.fspath(file) for file in ca_files],
            "insecure_registries": list(insecure_registries),
            "registry_mirrors": list(registry_mirrors),
            "credentials": {registry: (user, password) for registry, (user, password) in (credentials or {}).items()},
            "cancel": cancel,
        }

    def __repr__(self) -> str:
        home = self._options["home"]
        registries = sorted(self._options["credentials"])
        return f"Mpimg(home={home!r}, credentials for {registries!r})"

    def build(
        self,
        path: Folder = ".",
        *,
        names: Sequence[str] = (),
        outputs: Sequence[str] = (),
        push: bool = False,
        load: bool = False,
        sbom: Optional[str] = None,
        attest: Optional[str] = None,
        platforms: Sequence[str] = (),
        check_reproducible: bool = False,
        sbom_file: Optional[StrPath] = None,
        dockerfile: Optional[StrPath] = None,
        target: Optional[str] = None,
        build_args: Optional[Mapping[str, str]] = None,
        labels: Optional[Mapping[str, str]] = None,
        annotations: Optional[Mapping[str, str]] = None,
        platform: str = "linux/amd64",
        format: str = "oci",
        codec: str = "gzip:3",
        no_cache: bool = False,
        no_cache_stages: Sequence[str] = (),
        pull: bool = False,
        contexts: Optional[Mapping[str, StrPath]] = None,
        network: str = "default",
        extra_hosts: Sequence[Tuple[str, str]] = (),
        shm_size: Optional[int] = None,
        ulimits: Sequence[str] = (),
        cache_max_age: Optional[float] = None,
        source_date_epoch: Optional[int] = None,
        allowed_secret_files: Sequence[str] = (),
        secrets: Optional[Mapping[str, bytes]] = None,
        ssh: Optional[Mapping[str, StrPath]] = None,
        isolation: str = "auto",
        cache_repo: Optional[str] = None,
        cache_from: Sequence[str] = (),
        cache_to: Sequence[str] = (),
        squash: bool = False,
        sdk_base: str = "as-written",
        allow_insecure: bool = False,
        threads: Optional[int] = None,
        proxies: Optional[Mapping[str, str]] = None,
        run_ca_files: Sequence[StrPath] = (),
        run_env: Optional[Mapping[str, str]] = None,
        run_mounts: Optional[Mapping[str, StrPath]] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> BuiltImage:
        """Build an image from a Dockerfile and a folder.

        Nothing is named or written unless ``names`` or ``outputs`` say so, but layers and the results of RUN are kept in the
        local store, and not made again.

        :param path: the folder of the build context, or a project; or the URL of a git repository (``https://HOST/PATH.git#REF:FOLDER``)
            or of a tar
        :param names: names that the image gets in the local store: ``name[:tag]``
        :param outputs: where it is written: ``oci:DIR``, ``oci-archive:FILE``, ``docker-archive:FILE[:NAME]``
        :param push: push it under each of ``names``, to the repository in that name
        :param load: load it into docker, or podman, under each of ``names``
        :param check_reproducible: build twice without the build cache first; raises RunFailedError if the images differ, which names each
            file that does and the step that made it
        :param sbom: attach a bill of materials to what is pushed: ``spdx`` or ``cyclonedx``
        :param attest: where the bill of materials is kept: ``referrer`` (the default), or ``buildkit``, an index above the image,
            which an OCI layout and archive hold, too
        :param platforms: build for each of these in place of ``platform``; several make one index, which can be pushed or written to an
            OCI layout or archive
        :param sbom_file: write a bill of materials, what is installed in the image, to this file, whose name tells the form:
            ``NAME.spdx.json`` or ``NAME.cdx.json``. Layers that are not in the local store are fetched for it
        :param dockerfile: the Dockerfile; ``Dockerfile`` in ``path`` without it
        :param target: the stage whose image is wanted; the last without it
        :param build_args: values of ARG
        :param labels: labels of the image; they win over the Dockerfile's
        :param annotations: annotations of the manifest
        :param platform: what the image runs on: ``os/architecture[/variant]``
        :param format: whose manifest format: ``oci`` or ``docker``
        :param codec: how new layers are compressed: ``gzip[:0-12]``, ``zstd[:1-19]`` or ``none``
        :param no_cache: do every step again
        :param no_cache_stages: do every step of these stages again
        :param pull: ask the registry for base images, even if the local store has them
        :param contexts: what FROM and ``--from`` find by a name: a folder, ``docker-image://NAME``, ``oci-layout://DIR[:TAG]``, a URL
        :param network: the network of RUN steps that do not say otherwise: ``default``, ``host`` or ``none``
        :param extra_hosts: further lines of /etc/hosts in RUN: names and addresses
        :param shm_size: bytes of /dev/shm in RUN; 64 MiB without it
        :param ulimits: limits of resources in RUN: ``nofile=1024:2048``
        :param cache_max_age: do a RUN again whose result in the build cache is this many seconds old, or older
        :param source_date_epoch: latest time in new layers, in seconds since 1970; without it the variable
            ``SOURCE_DATE_EPOCH``, else the time of the last git commit, else 0
        :param allowed_secret_files: files that may enter the image although they look like secrets
        :param secrets: what ``RUN --mount=type=secret`` sees, by id; never in the image
        :param ssh: sockets of SSH agents, by id
        :param isolation: how RUN is isolated: ``auto``, ``root``, ``userns``, ``single``, ``chroot`` or ``emulated``
        :param cache_repo: a repository (``host[:port]/path``) from which results of steps are taken, and where those made here are put
        :param cache_from: further repositories from which results of steps are taken
        :param cache_to: further repositories into which they are put
        :param squash: make one layer of all that the target's own steps changed
        :param sdk_base: where the SDK's base images come from: ``installed`` (the one that the installed SDK builds, also where the
            Dockerfile names one that is gone), a repository (``host[:port]/path``; :meth:`push` puts what is missing there), or
            ``as-written``
        :param allow_insecure: let ``RUN --security=insecure`` have all the rights that this program has
        :param threads: how many threads compress one layer; without it one a core. The digest does not depend on it
        :param proxies: proxy variables that RUN sees and the image does not; without them those of the environment
        :param run_ca_files: PEM files with certificate authorities that RUN trusts, too; like ``run_env`` and ``run_mounts`` they add
            to what mpimg's configuration file says, and never enter the image
        :param run_env: variables of RUN alone; they win over the Dockerfile's
        :param run_mounts: files and folders of this machine that RUN sees read-only: the source by the target, an absolute path
        :param progress: called with each event, on this thread
        :raises DockerfileError: the Dockerfile is wrong; ``snippet`` tells where
        :raises ContextError: a source of COPY or ADD is missing
        :raises SecretError: a file that holds secrets was about to enter the image
        :raises RunFailedError: a RUN step ended with a status other than 0
        :raises SandboxError: RUN cannot be started on this machine
        :raises NetworkError, AuthError, RegistryError: a base image cannot be had
        :raises KeyboardInterrupt: Ctrl-C; nothing is half-written then
        """
        build = BuildOptions(
            path=path, dockerfile=dockerfile, target=target, build_args=build_args, labels=labels, annotations=annotations,
            platform=platform, format=format, codec=codec, no_cache=no_cache, no_cache_stages=no_cache_stages, pull=pull,
            contexts=contexts, network=network, extra_hosts=extra_hosts, shm_size=shm_size, ulimits=ulimits,
            cache_max_age=cache_max_age, source_date_epoch=source_date_epoch, allowed_secret_files=allowed_secret_files,
            secrets=secrets, ssh=ssh, isolation=isolation, cache_repo=cache_repo, cache_from=cache_from, cache_to=cache_to,
            squash=squash, sdk_base=sdk_base, allow_insecure=allow_insecure, threads=threads, proxies=proxies,
            run_ca_files=run_ca_files, run_env=run_env, run_mounts=run_mounts, names=names, outputs=outputs, push=push,
            load=load, sbom=sbom, attest=attest, platforms=platforms, check_reproducible=check_reproducible, sbom_file=sbom_file,
        )  # fmt: skip
        built = _mpimg.build(self._options, build.request(), progress)
        return BuiltImage(
            digest=built["digest"],
            image_id=built["image_id"],
            size=built["size"],
            layers=_layers(built["layers"]),
            seconds=built["seconds"],
            manifests=dict(built["manifests"]),
        )

    def push(
        self,
        path: Folder = ".",
        repository: Optional[str] = None,
        *,
        image: Optional[str] = None,
        push_repository: Optional[str] = None,
        use_default_registry: bool = False,
        tags: Sequence[str] = (),
        username: Optional[str] = None,
        password: Optional[str] = None,
        sbom: Optional[str] = None,
        sbom_file: Optional[StrPath] = None,
        provenance: bool = False,
        attest: Optional[str] = None,
        dockerfile: Optional[StrPath] = None,
        target: Optional[str] = None,
        build_args: Optional[Mapping[str, str]] = None,
        labels: Optional[Mapping[str, str]] = None,
        annotations: Optional[Mapping[str, str]] = None,
        platform: str = "linux/amd64",
        format: str = "oci",
        codec: str = "gzip:3",
        no_cache: bool = False,
        no_cache_stages: Sequence[str] = (),
        pull: bool = False,
        contexts: Optional[Mapping[str, StrPath]] = None,
        network: str = "default",
        extra_hosts: Sequence[Tuple[str, str]] = (),
        shm_size: Optional[int] = None,
        ulimits: Sequence[str] = (),
        cache_max_age: Optional[float] = None,
        source_date_epoch: Optional[int] = None,
        allowed_secret_files: Sequence[str] = (),
        secrets: Optional[Mapping[str, bytes]] = None,
        ssh: Optional[Mapping[str, StrPath]] = None,
        isolation: str = "auto",
        cache_repo: Optional[str] = None,
        cache_from: Sequence[str] = (),
        cache_to: Sequence[str] = (),
        squash: bool = False,
        sdk_base: str = "as-written",
        allow_insecure: bool = False,
        threads: Optional[int] = None,
        proxies: Optional[Mapping[str, str]] = None,
        run_ca_files: Sequence[StrPath] = (),
        run_env: Optional[Mapping[str, str]] = None,
        run_mounts: Optional[Mapping[str, StrPath]] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> PushedImage:
        """Build a project and push it, or push an image that exists; then find out whether the product can pull it.

        An upload that is cut off goes on where it was when the same is pushed again, even by another process. Once the image is
        in the registry, config.json learns a repository that was known from ``push_repository`` alone.

        :param path: the project's folder; with ``repository``, any folder with a Dockerfile
        :param repository: ``host[:port]/path``, or ``namespace/name`` on Docker Hub: where the product pulls from; without it
            ``container_repository`` of config.json
        :param image: push this image instead of building one: ``name[:tag]`` of the local store, ``oci:DIR``,
            ``oci-archive:FILE``, ``docker-archive:FILE``, ``docker://NAME``
        :param push_repository: push here instead, if the product reaches the same repository by another name; without it
            ``container_push_repository`` of config.json
        :param use_default_registry: leave the host out of ``conf``
        :param tags: the tags; without any ``<version>_<unix time>`` of a project, else the image's, else ``latest``
        :param username: log in to the registry that is pushed to under this name
        :param password: with this password or token
        :param sbom: attach a bill of materials (what is installed in the image): ``spdx`` or ``cyclonedx``
        :param sbom_file: write a bill of materials to this file, ``NAME.spdx.json`` or ``NAME.cdx.json``: the same bytes as ``sbom``
            attaches
        :param provenance: attach how the image was made: Dockerfile, base images, downloads and commit by digest (SLSA provenance,
            not signed; the command signs it with ``--sign``)
        :param attest: where both are kept: ``referrer`` (the default), artifacts that refer to the image; or ``buildkit``, an index
            above it, as docker buildx makes it. The tags, ``digest`` and ``conf`` name the index then
        :raises UsageError: no repository was given, or an invalid one
        :raises AuthError: the registry refuses the credentials, or asks for some
        :raises RegistryError, NetworkError: it answers with an error, or not at all
        :raises KeyboardInterrupt: Ctrl-C; what was sent stays for the next push

        All other parameters and errors are those of :meth:`build`.
        """
        build = BuildOptions(
            path=path, dockerfile=dockerfile, target=target, build_args=build_args, labels=labels, annotations=annotations,
            platform=platform, format=format, codec=codec, no_cache=no_cache, no_cache_stages=no_cache_stages, pull=pull,
            contexts=contexts, network=network, extra_hosts=extra_hosts, shm_size=shm_size, ulimits=ulimits,
            cache_max_age=cache_max_age, source_date_epoch=source_date_epoch, allowed_secret_files=allowed_secret_files,
            secrets=secrets, ssh=ssh, isolation=isolation, cache_repo=cache_repo, cache_from=cache_from, cache_to=cache_to,
            squash=squash, sdk_base=sdk_base, allow_insecure=allow_insecure, threads=threads, proxies=proxies,
            run_ca_files=run_ca_files, run_env=run_env, run_mounts=run_mounts,
        )  # fmt: skip
        request: _mpimg.PushRequest = {
            "path": folder_of(path),
            "image": image,
            "repository": repository,
            "push_repository": push_repository,
            "use_default_registry": use_default_registry,
            "tags": list(tags),
            "username": username,
            "password": password,
            "sbom": sbom,
            "sbom_file": None if sbom_file is None else os.fspath(sbom_file),
            "provenance": provenance,
            "attest": attest,
            "build": build.request(),
        }
        pushed = _mpimg.push(self._options, request, progress)
        return PushedImage(
            repository=pushed["repository"],
            tags=tuple(pushed["tags"]),
            digest=pushed["digest"],
            image_id=pushed["image_id"],
            size=pushed["size"],
            layers=_layers(pushed["layers"]),
            seconds=pushed["seconds"],
            conf=ConfEntries(pushed["conf_registry"], pushed["conf_repository"], pushed["digest"]),
            anonymous_pull=pushed["anonymous_pull"],
            anonymous_pull_checks=_checks(pushed["anonymous_pull_checks"]),
            sbom=pushed["sbom"],
            provenance=pushed["provenance"],
        )

    def copy(
        self,
        source: str,
        destination: str,
        *,
        platform: Optional[str] = None,
        referrers: bool = False,
        username: Optional[str] = None,
        password: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> CopiedImage:
        """Copy an image from anywhere to anywhere, byte for byte: the digest stays.

        What the destination has is not sent again; a copy that was cut off goes on when it is made again.

        :param source: ``name[:tag]`` of the local store, ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]``, ``docker-archive:FILE``,
            ``docker://NAME``
        :param destination: where it goes, in the same forms
        :param platform: only the image for this one: ``os/architecture[/variant]``. Without it all of them; linux/amd64 where the
            destination holds one (the local store, docker archives)
        :param referrers: copy what refers to the image, too: signatures, SBOMs
        :param username: log in to the registry of the destination under this name
        :param password: with this password or token
        :param progress: called with each event, on this thread
        :raises NotFoundError: it is not there, or for another platform
        :raises UsageError: the destination has no place for ``referrers``, or has another digest in its name
        :raises CorruptError: it is damaged
        :raises AuthError, RegistryError, NetworkError: a registry
        :raises KeyboardInterrupt: Ctrl-C; what was sent stays for the next copy
        """
        request: _mpimg.CopyRequest = {
            "source": source,
            "destination": destination,
            "platform": platform,
            "referrers": referrers,
            "username": username,
            "password": password,
        }
        copied = _mpimg.copy(self._options, request, progress)
        return CopiedImage(
            digest=copied["digest"],
            media_type=copied["media_type"],
            size=copied["size"],
            manifests=tuple(Manifest(**manifest) for manifest in copied["manifests"]),
            referrers=tuple(Manifest(**manifest) for manifest in copied["referrers"]),
            left_behind=copied["left_behind"],
            blobs=tuple(Blob(**blob) for blob in copied["blobs"]),
        )

    def check(
        self,
        subject: Folder = ".",
        *,
        username: Optional[str] = None,
        password: Optional[str] = None,
        progress: Optional[ProgressCallback] = None,
    ) -> CheckReport:
        """Check whether an image could be pushed, and pulled by the product. Leaves nothing in the registry.

        :param subject: a project or its folder, a repository, or an image in one (``repository:tag``, ``repository@digest``):
            then also whether it can be pulled without logging in
        :param username: log in to the registry under this name
        :param password: with this password or token
        :param progress: called with each event, on this thread
        :raises UsageError: config.json names no repository, the subject is none of these, or one of ``username`` and ``password``
            is missing
        :raises NotFoundError, RegistryError: there is no such image

        What else is wrong is an item of the report, not an exception.
        """
        report = _mpimg.check(self._options, folder_of(subject), username, password, progress)
        return CheckReport(report["repository"], report["passed"], _checks(report["items"]), report["pulls"])

    def inspect(
        self,
        image: str,
        *,
        files: bool = False,
        html: Optional[StrPath] = None,
        platform: str = "linux/amd64",
        progress: Optional[ProgressCallback] = None,
    ) -> InspectedImage:
        """Look into an image: configuration, layers, and the files in them.

        :param image: ``name[:tag]`` of the local store, ``oci:DIR``, ``oci-archive:FILE``, ``docker-archive:FILE``,
            ``docker://NAME``
        :param files: list what each layer holds; fetches layers that are in a registry
        :param html: a file for a page that a browser shows without loading anything else: sizes by layer and folder, files
            that a layer above hides, duplicates. Reads all layers
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: it is not there
        :raises CorruptError: it is damaged
        """
        found = _mpimg.inspect(self._options, image, files, None if html is None else os.fspath(html), platform, progress)
        listed = found["files"]
        return InspectedImage(
            name=image,
            digest=found["digest"],
            image_id=found["image_id"],
            media_type=found["media_type"],
            platform=found["platform"],
            size=found["size"],
            config=json.loads(found["config"]),
            annotations=found["annotations"],
            layers=_layers(found["layers"]),
            files=None if listed is None else tuple(tuple(File(**file) for file in layer) for layer in listed),
            attestations=tuple(ImageAttestation(**attested) for attested in found["attestations"]),
        )

    def packages(
        self,
        image: str,
        *,
        platform: str = "linux/amd64",
        progress: Optional[ProgressCallback] = None,
    ) -> Tuple[Package, ...]:
        """What is installed in an image, sorted. Layers that are elsewhere are fetched; none is unpacked.

        :param image: ``name[:tag]`` of the local store, ``oci:DIR``, ``oci-archive:FILE``, ``docker-archive:FILE``,
            ``docker://NAME``
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: it is not there
        :raises CorruptError: a layer is damaged
        """
        return tuple(_package(package) for package in _mpimg.packages(self._options, image, platform, progress))

    def diff(
        self,
        old: str,
        new: str,
        *,
        html: Optional[StrPath] = None,
        platform: str = "linux/amd64",
        progress: Optional[ProgressCallback] = None,
    ) -> ImageDiff:
        """What differs between two images. Layers that are elsewhere are fetched.

        :param old: as for :meth:`packages`
        :param new: the same
        :param html: a file for the same as a page that a browser shows without loading anything else
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: one of them is not there
        :raises CorruptError: a layer is damaged
        """
        told = json.loads(_mpimg.diff(self._options, old, new, None if html is None else os.fspath(html), platform, progress))
        del told["same"]
        return ImageDiff(**told)

    def sbom(
        self,
        image: str,
        format: Literal["spdx", "cyclonedx"] = "spdx",
        *,
        platform: str = "linux/amd64",
        progress: Optional[ProgressCallback] = None,
    ) -> Sbom:
        """The bill of materials of any image: SPDX 2.3 or CycloneDX 1.6. The same image gives the same bytes.

        :param image: as for :meth:`packages`
        :param format: ``spdx`` or ``cyclonedx``
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: it is not there
        :raises CorruptError: a layer is damaged
        """
        made = _mpimg.sbom(self._options, image, format, platform, progress)
        return Sbom(
            document=made["document"],
            digest=made["digest"],
            packages=tuple(_package(package) for package in made["packages"]),
            files=made["files"],
            files_without_package=made["files_without_package"],
            notices=tuple(made["notices"]),
        )

    def pull(
        self, name: str, *, platform: str = "linux/amd64", progress: Optional[ProgressCallback] = None
    ) -> PulledImage:
        """Pull an image from a registry into the local store, layers included.

        :param name: ``name[:tag]``; it has the same name in the local store
        :param platform: which of an image for several platforms
        :param progress: called with each event, on this thread
        :raises NotFoundError: it is not there, or not for this platform
        :raises AuthError, RegistryError, NetworkError: the registry
        """
        return PulledImage(*_mpimg.pull(self._options, name, platform, progress))

    def tags(self, repository: str) -> Tuple[str, ...]:
        """All tags of a repository in a registry, in order.

        :raises AuthError, RegistryError, NetworkError: the registry
        """
        return tuple(_mpimg.tags(self._options, repository))

    def remove_remote(self, *names: str) -> None:
        """Delete tags (``name:tag``), or manifests with all their tags (``name@digest``), from their registries.

        :raises NotFoundError: it is not there
        :raises UnsupportedError: the registry does not delete tags, or nothing at all
        """
        _mpimg.remove_remote(self._options, list(names))

    def images(self) -> Tuple[StoredImage, ...]:
        """The images of the local store, in the order of their names.

        :raises StoreError: it cannot be read
        """
        return tuple(StoredImage(**image) for image in _mpimg.images(self._options))

    def tag(self, source: str, target: str) -> str:
        """Give an image of the local store another name; a name that is taken moves to it. Returns its digest.

        :raises NotFoundError: there is no such image
        :raises UsageError: a name is invalid, or ``target`` has another digest
        """
        return _mpimg.tag(self._options, source, target)

    def remove(self, *names: str, force: bool = False) -> Tuple[str, ...]:
        """Take names away from images of the local store; returns those that were there.

        Their bytes stay until ``mpimg prune``. Without ``force``, all names are removed or none.

        :raises NotFoundError: there is no image of one of these names
        """
        return tuple(_mpimg.remove(self._options, list(names), force))

    def login(self, registry: str, username: str, password: str) -> str:
        """Try a user name and password or token, then store them where docker would; returns where.

        That is the credential helper of docker's config.json, else that file, in clear but for base64.

        :param registry: ``host[:port]``; ``docker.io`` is Docker Hub
        :raises AuthError: the registry refuses them; nothing is stored then
        """
        return _mpimg.login(self._options, registry, username, password)

    def logout(self, registry: str) -> bool:
        """Forget what :meth:`login` stored; returns whether there was anything.

        :raises AuthError: the credential helper fails
        """
        return _mpimg.logout(self._options, registry)


def _layers(layers: Sequence[_mpimg.LayerResult]) -> Tuple[Layer, ...]:
    return tuple(Layer(**layer) for layer in layers)


def _checks(items: Sequence[_mpimg.CheckResult]) -> Tuple[CheckItem, ...]:
    return tuple(CheckItem(**item) for item in items)


def _package(package: _mpimg.PackageResult) -> Package:
    return Package(
        kind=package["kind"],
        name=package["name"],
        version=package["version"],
        purl=package["purl"],
        licenses=tuple(package["licenses"]),
        checksum=package["checksum"],
        places=tuple(package["places"]),
    )
