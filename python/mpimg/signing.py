"""Signatures of images in registries: the part of :class:`Mpimg` that signs and verifies."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional, Tuple

from . import _mpimg
from .project import StrPath

__all__ = ["FoundAttestation", "FoundReferrer", "FoundSignature", "KeyFiles", "Signed", "Signing", "VerifiedManifest"]


@dataclass(frozen=True)
class KeyFiles:
    """A key pair that was made."""

    #: The private key, encrypted.
    private: str
    #: The public key.
    public: str
    #: The digest of the public key's DER form.
    fingerprint: str


@dataclass(frozen=True)
class Signed:
    """A manifest that was signed."""

    #: Of the manifest.
    digest: str
    #: Of the manifest that carries the Sigstore bundle.
    bundle: str
    #: Of the manifest under the tag ``sha256-HEX.sig``.
    tag: Optional[str]


@dataclass(frozen=True)
class FoundSignature:
    """A signature that was found, good or bad."""

    #: Under the tag ``sha256-HEX.sig``, or a Sigstore bundle that refers to the image.
    form: Literal["tag", "bundle"]
    #: Of the manifest that carries it.
    manifest: str
    #: What is wrong with it; ``None``: it is good.
    error: Optional[str]
    #: The fingerprint of the key that signed.
    key: Optional[str]
    #: The kind of statement that was signed, of a bundle.
    predicate_type: Optional[str]
    #: What is stated, where it is more than a signature.
    predicate: Any
    #: The repository that was signed for, where the signature names one.
    repository: Optional[str]


@dataclass(frozen=True)
class FoundAttestation:
    """Something that an index says of an image in it. A signature of the index is one of this, too."""

    #: The digest of the manifest that carries it.
    manifest: str
    #: The image that it is about.
    image: str
    #: What is wrong with it; None: it is a statement about that image.
    error: Optional[str]
    #: The kind of statement.
    predicate_type: str
    #: What is stated.
    predicate: Any


@dataclass(frozen=True)
class FoundReferrer:
    """Something that refers to an image and is no signature itself: an SBOM, provenance that nobody signed."""

    #: The digest of its manifest.
    manifest: str
    #: What it is: ``application/spdx+json``, …
    artifact_type: str
    #: The kinds of statements that it holds about the image.
    predicate_types: tuple[str, ...]
    #: What is wrong with it; ``None``: it is whole.
    error: Optional[str]
    #: Whether one of the keys signed it.
    signed: bool
    #: All signatures of it that were found.
    signatures: tuple[FoundSignature, ...]


@dataclass(frozen=True)
class VerifiedManifest:
    """What was found for a manifest or index."""

    #: Of the manifest.
    digest: str
    #: Whether one of the keys signed it.
    signed: bool
    #: All that were found.
    signatures: tuple[FoundSignature, ...]
    #: Of an index: what it says of its images.
    attestations: tuple[FoundAttestation, ...] = ()
    #: What else refers to it.
    referrers: tuple[FoundReferrer, ...] = ()


class Signing:
    """Signing and verifying."""

    _options: _mpimg.Options

    def sign(
        self,
        image: str,
        key: StrPath,
        *,
        password: Optional[str] = None,
        tag: bool = True,
        recursive: bool = True,
        referrers: bool = False,
    ) -> Tuple[Signed, ...]:
        """Sign an image in its registry. The image and its digest stay as they are.

        :param image: ``name[:tag]`` or ``name@digest``; :attr:`PushedImage.reference` is one
        :param key: a private key: a PEM file of ECDSA on P-256, cosign's key files included
        :param password: of an encrypted key
        :param tag: write the signature under the tag ``sha256-HEX.sig``, too: Harbor before 2.15 and cosign before 3 look only there
        :param recursive: of an index, sign each image, too
        :param referrers: sign the SBOMs and statements (provenance) that refer to the image, too; anybody who may push can have attached one
        :raises UsageError: the key cannot be used, or the password is missing or wrong
        :raises NotFoundError: there is no such image
        :raises AuthError, RegistryError, NetworkError: the registry
        """
        signed = _mpimg.sign(self._options, image, os.fspath(key), password, (tag, recursive, referrers))
        return tuple(Signed(**manifest) for manifest in signed)

    def verify(self, image: str, *keys: StrPath, recursive: bool = False) -> Tuple[VerifiedManifest, ...]:
        """Look for the signatures of an image and judge each. Nothing but the registry is asked.

        :param image: ``name[:tag]`` or ``name@digest`` in its registry; ``oci:dir`` or ``oci-archive:file``
        :param keys: public keys, of which any may have signed: PEM files
        :param recursive: of an index, each image must be signed, too
        :raises CorruptError: there are signatures, but none is good
        :raises NotFoundError: there is no such image, or no signature
        :raises AuthError, RegistryError, NetworkError: the registry
        """

        def found(signature: _mpimg.FoundSignatureResult) -> FoundSignature:
            predicate = signature["predicate"]
            return FoundSignature(
                form=signature["form"],
                manifest=signature["manifest"],
                error=signature["error"],
                key=signature["key"],
                predicate_type=signature["predicate_type"],
                predicate=None if predicate is None else json.loads(predicate),
                repository=signature["repository"],
            )

        def attested(attestation: _mpimg.FoundAttestationResult) -> FoundAttestation:
            predicate = attestation["predicate"]
            return FoundAttestation(
                manifest=attestation["manifest"],
                image=attestation["image"],
                error=attestation["error"],
                predicate_type=attestation["predicate_type"],
                predicate=None if predicate is None else json.loads(predicate),
            )

        def referring(referrer: _mpimg.FoundReferrerResult) -> FoundReferrer:
            return FoundReferrer(
                manifest=referrer["manifest"],
                artifact_type=referrer["artifact_type"],
                predicate_types=tuple(referrer["predicate_types"]),
                error=referrer["error"],
                signed=referrer["signed"],
                signatures=tuple(map(found, referrer["signatures"])),
            )

        verified = _mpimg.verify(self._options, image, [os.fspath(key) for key in keys], recursive)
        return tuple(
            VerifiedManifest(
                digest=manifest["digest"],
                signed=manifest["signed"],
                signatures=tuple(map(found, manifest["signatures"])),
                attestations=tuple(map(attested, manifest["attestations"])),
                referrers=tuple(map(referring, manifest["referrers"])),
            )
            for manifest in verified
        )

    def sign_file(self, file: StrPath, key: StrPath, *, password: Optional[str] = None) -> Tuple[Path, Path]:
        """Sign a file, and write the signature beside it: ``FILE.sigstore.json`` (a Sigstore bundle, which ``cosign verify-blob --bundle``
        takes) and ``FILE.sig`` (its base64, for openssl). The two paths.

        :param key: a private key: a PEM file of ECDSA on P-256, cosign's key files included
        :param password: of an encrypted key
        :raises UsageError: the key cannot be used, or the password is missing or wrong
        :raises IoError: the file cannot be read, or its folder not be written
        """
        bundle, signature = _mpimg.sign_file(self._options, os.fspath(file), os.fspath(key), password)
        return Path(bundle), Path(signature)

    def verify_file(self, file: StrPath, *keys: StrPath) -> str:
        """Verify a file by the signature beside it. The fingerprint of the key that signed.

        :param keys: public keys, of which any may have signed: PEM files
        :raises CorruptError: none of the keys signed this file
        :raises NotFoundError: there is no signature beside it
        :raises IoError: it cannot be read
        """
        return _mpimg.verify_file(self._options, os.fspath(file), [os.fspath(key) for key in keys])

    def generate_key(self, prefix: StrPath, password: str) -> KeyFiles:
        """Make a key pair: ``PREFIX.key``, encrypted with the password, and ``PREFIX.pub``. cosign can use both.

        :raises UsageError: one of the files exists
        :raises IoError: it cannot be written
        """
        return KeyFiles(*_mpimg.generate_key(os.fspath(prefix), password))
