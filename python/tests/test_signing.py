"""Signatures of images and files, and what an index says of its images."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import mpimg
from case import REGISTRY, Case


class Signing(Case):
    def setUp(self) -> None:
        super().setUp()
        self.keys = self.mpimg.generate_key(self.folder / "team", "pass word")

    def openssl(self, *words: object) -> str:
        return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True).stdout

    def index(self, reference: str) -> Any:
        host, _, rest = reference.partition("/")
        repository, _, digest = rest.partition("@")
        request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{digest}")
        request.add_header("Accept", "application/vnd.oci.image.index.v1+json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def test_a_signed_image_verifies_with_its_key_and_with_no_other(self) -> None:
        pushed = self.mpimg.push(self.project, f"{REGISTRY}/py/signed", tags=["1"])
        (signed,) = self.mpimg.sign(pushed.reference, self.keys.private, password="pass word")
        self.assertEqual(signed.digest, pushed.digest)
        (verified,) = self.mpimg.verify(pushed.reference, self.keys.public)
        self.assertTrue(verified.signed)
        self.assertEqual(sorted(found.form for found in verified.signatures), ["bundle", "tag"])
        self.assertEqual({found.key for found in verified.signatures}, {self.keys.fingerprint})
        other = self.mpimg.generate_key(self.folder / "other", "x")
        with self.assertRaises(mpimg.CorruptError):
            self.mpimg.verify(pushed.reference, other.public)
        with self.assertRaises(mpimg.UsageError):
            self.mpimg.sign(pushed.reference, self.keys.private, password="wrong")

    def test_what_refers_to_an_image_is_signed_when_that_is_asked(self) -> None:
        pushed = self.mpimg.push(self.project, f"{REGISTRY}/py/referrers", tags=["1"], sbom="spdx")
        self.mpimg.sign(pushed.reference, self.keys.private, password="pass word")
        (sbom,) = self.mpimg.verify(pushed.reference, self.keys.public)[0].referrers
        self.assertEqual((sbom.manifest, sbom.artifact_type, sbom.signed), (pushed.sbom, "application/spdx+json", False))
        signed = self.mpimg.sign(pushed.reference, self.keys.private, password="pass word", referrers=True)
        self.assertEqual([one.digest for one in signed], [pushed.digest, pushed.sbom])
        (sbom,) = self.mpimg.verify(pushed.reference, self.keys.public)[0].referrers
        self.assertTrue(sbom.signed)
        layout = f"oci:{self.folder / 'copy'}"
        self.mpimg.copy(f"docker://{pushed.reference}", layout, referrers=True)
        self.assertTrue(self.mpimg.verify(layout, self.keys.public)[0].signed)

    def test_an_index_as_buildkit_makes_it_has_the_sbom_and_the_provenance(self) -> None:
        pushed = self.mpimg.push(self.project, f"{REGISTRY}/py/attest", tags=["1"], sbom="spdx", provenance=True, attest="buildkit")
        image, attestation = self.index(pushed.reference)["manifests"]
        self.assertEqual(attestation["annotations"]["vnd.docker.reference.type"], "attestation-manifest")
        self.assertEqual(attestation["annotations"]["vnd.docker.reference.digest"], image["digest"])
        self.mpimg.sign(pushed.reference, self.keys.private, password="pass word")
        verified = self.mpimg.verify(pushed.reference, self.keys.public)[0]
        self.assertEqual(
            {found.predicate_type for found in verified.attestations},
            {"https://spdx.dev/Document", "https://slsa.dev/provenance/v1"},
        )
        for found in verified.attestations:
            self.assertEqual((found.image, found.error), (image["digest"], None))

    def test_an_index_of_a_build_is_in_the_layout(self) -> None:
        layout = self.folder / "layout"
        built = self.mpimg.build(self.project, outputs=[f"oci:{layout}"], sbom="cyclonedx", attest="buildkit")
        (top,) = json.loads((layout / "index.json").read_text())["manifests"]
        self.assertEqual(top["digest"], built.digest)
        index = json.loads((layout / "blobs" / top["digest"].replace(":", "/")).read_text())
        image, attestation = index["manifests"]
        self.assertEqual(attestation["annotations"]["vnd.docker.reference.digest"], image["digest"])

    def test_a_signed_file_is_verified_by_openssl_and_a_changed_one_by_nobody(self) -> None:
        file = self.folder / "adapter.pak"
        file.write_bytes(b"a management pack")
        bundle, signature = self.mpimg.sign_file(file, self.keys.private, password="pass word")
        self.assertEqual((bundle, signature), (Path(f"{file}.sigstore.json"), Path(f"{file}.sig")))
        self.assertEqual(self.mpimg.verify_file(file, self.keys.public), self.keys.fingerprint)
        raw = self.folder / "raw"
        self.openssl("base64", "-d", "-A", "-in", signature, "-out", raw)
        said = self.openssl("dgst", "-sha256", "-verify", self.keys.public, "-signature", raw, file)
        self.assertEqual(said.strip(), "Verified OK")
        file.write_bytes(b"another one")
        with self.assertRaises(mpimg.CorruptError):
            self.mpimg.verify_file(file, self.keys.public)
        bundle.unlink()
        signature.unlink()
        with self.assertRaises(mpimg.NotFoundError):
            self.mpimg.verify_file(file, self.keys.public)
