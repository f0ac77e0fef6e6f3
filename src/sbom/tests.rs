//! What the files of layers tell, and what is left of it after the last layer.

use std::io::{Cursor, Read as _, Write as _};

use super::inventory::Inventory;
use super::{Checksum, LayerFacts, Package, PackageKind};

fn tar<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.as_ref().len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_ref()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn inventory<C: AsRef<[u8]>>(layers: &[&[(&str, C)]]) -> Inventory {
    let layers: Vec<LayerFacts> = layers.iter().map(|files| LayerFacts::of_tar(&tar(files)[..]).unwrap()).collect();
    Inventory::of(&layers).unwrap()
}

fn purls<C: AsRef<[u8]>>(layers: &[&[(&str, C)]]) -> Vec<String> {
    inventory(layers).packages.into_iter().map(|package| package.purl).collect()
}

const SITE: &str = "usr/lib/python3/site-packages";

#[test]
fn both_databases_are_read_and_removed_packages_left_out() {
    let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u4\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";
    let metadata = "Metadata-Version: 2.1\nName: Ruamel_Yaml\nVersion: 0.18.6\n\nName: not this\n";
    let found = purls(&[&[
        ("var/lib/dpkg/status", status),
        ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
        (&format!("{SITE}/ruamel.dist-info/METADATA"), metadata),
        ("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n"),
        ("var/lib/dpkg/status.d/tzdata.md5sums", "Package: no\nVersion: 1\n"),
    ]]);
    assert_eq!(
        found,
        [
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12",
            "pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12",
            "pkg:pypi/ruamel-yaml@0.18.6",
        ]
    );
}

#[test]
fn crates_are_those_of_a_lock_file() {
    let lock = "version = 4\n[[package]]\nname = \"tokio\"\nversion = \"1.2.3+x\"\nsource = \"registry+a\"\n[[package]]\nname = \"own\"\n\
                    version = \"0.1.0\"\n";
    let found = purls(&[&[("usr/src/Cargo.lock", lock), ("My-Cargo.lock", lock), ("Cargo.lock", "not TOML")]]);
    assert_eq!(found, ["pkg:cargo/own@0.1.0", "pkg:cargo/tokio@1.2.3%2Bx"]);
}

#[test]
fn the_last_layer_that_says_something_counts() {
    let package =
        |name: &str, version: &str| (format!("{SITE}/{name}.dist-info/METADATA"), format!("Name: {name}\nVersion: {version}\n"));
    let (a, b, c) = (package("a", "1"), package("b", "1"), package("a", "2"));
    let below: &[(&str, &str)] = &[(&a.0, &a.1), (&b.0, &b.1)];
    assert_eq!(purls(&[below]), ["pkg:pypi/a@1", "pkg:pypi/b@1"]);
    assert_eq!(purls(&[below, &[(&c.0, &c.1)]]), ["pkg:pypi/a@2", "pkg:pypi/b@1"]);
    assert_eq!(purls(&[below, &[(&format!("{SITE}/.wh.b.dist-info"), "")]]), ["pkg:pypi/a@1"]);
    assert_eq!(purls(&[below, &[(&c.0, &c.1), (&format!("{SITE}/.wh..wh..opq"), "")]]), ["pkg:pypi/a@2"]);
}

const ALPINE: (&str, &str) = ("etc/os-release", "ID=alpine\nVERSION_ID=3.19.1\n");

#[test]
fn text_databases_and_metadata_are_read() {
    let apk = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\n\n\
               P:libcrypto3\nV:3.1.4-r5\nA:x86_64\nL:Apache-2.0\no:openssl\n\n";
    let gem = "# -*- encoding: utf-8 -*-\n# stub: nokogiri 1.16.0 x86_64-linux lib\n\nGem::Specification.new do |s|\n  \
               s.name = \"nokogiri\".freeze\n  s.licenses = [\"MIT\".freeze, \"Ruby\".freeze]\nend\n";
    let unstubbed = "Gem::Specification.new do |spec|\n  spec.name = 'mine'\n  spec.version = '0.1'\nend\n";
    let powershell: Vec<u8> =
        "@{\r\n  ModuleVersion = '13.3.0'\r\n  Prerelease = 'beta2'\r\n}\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let powershell = [&[0xFF, 0xFE][..], &powershell].concat();
    let files: &[(&str, &[u8])] = &[
        (ALPINE.0, ALPINE.1.as_bytes()),
        ("lib/apk/db/installed", apk.as_bytes()),
        ("lib/ld-musl-x86_64.so.1", b"x"),
        ("app/node_modules/@babel/core/package.json", br#"{"name": "@babel/core", "version": "7.0.0", "license": "MIT"}"#),
        ("app/node_modules/@babel/core/lib/index.js", b"x"),
        ("app/node_modules/old/package.json", br#"{"name": "old", "version": "1", "licenses": [{"type": "BSD-2-Clause"}]}"#),
        ("app/node_modules/old/cjs/package.json", br#"{"type": "commonjs"}"#),
        ("usr/lib/ruby/gems/3.1.0/specifications/nokogiri-1.16.0-x86_64-linux.gemspec", gem.as_bytes()),
        ("usr/lib/ruby/gems/3.1.0/gems/nokogiri-1.16.0-x86_64-linux/lib/nokogiri.rb", b"x"),
        ("usr/lib/ruby/gems/3.1.0/specifications/default/mine-0.1.gemspec", unstubbed.as_bytes()),
        ("opt/microsoft/powershell/7/Modules/VMware.PowerCLI/VMware.PowerCLI.psd1", &powershell),
        ("etc/mine.conf", b"x"),
    ];
    let found = inventory(&[files]);
    let purls: Vec<&str> = found.packages.iter().map(|package| &*package.purl).collect();
    assert_eq!(
        purls,
        [
            "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl",
            "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1",
            "pkg:npm/%40babel/core@7.0.0",
            "pkg:npm/old@1",
            "pkg:gem/mine@0.1",
            "pkg:gem/nokogiri@1.16.0?platform=x86_64-linux",
            "pkg:generic/powershell/VMware.PowerCLI@13.3.0-beta2",
        ]
    );
    let licenses = |purl: &str| found.packages.iter().find(|package| package.purl.starts_with(purl)).unwrap().licenses.join(",");
    assert_eq!(
        [licenses("pkg:apk/alpine/musl"), licenses("pkg:npm/old"), licenses("pkg:gem/nok")],
        ["MIT", "BSD-2-Clause", "MIT,Ruby"]
    );
    // os-release and mine.conf are nobody's.
    assert_eq!((found.files, found.files_without_package), (12, 2), "{found:?}");
    assert!(found.notices.is_empty());
}

#[test]
fn the_three_forms_of_the_database_of_rpm_tell_the_same() {
    // Made by rpm 4.18 and, of the headers in it, db5.3_load; syft 1.x reads the same of all of
    // them.
    let packed = |name: &str| {
        let path = format!("{}/fixtures/sbom/rpm/{name}.zst", env!("CARGO_MANIFEST_DIR"));
        zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()
    };
    let release = ("usr/lib/os-release", b"ID=\"rhel\"\nVERSION_ID=\"9.4\"\n".to_vec());
    for (name, path) in [
        ("rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite"),
        ("Packages.db", "usr/lib/sysimage/rpm/Packages.db"),
        ("Packages.le", "var/lib/rpm/Packages"),
        ("Packages.be", "var/lib/rpm/Packages"),
    ] {
        let database = packed(name);
        let owned = ("usr/share/beta/file-with-a-long-name-150", b"150".to_vec());
        let found = inventory(&[&[release.clone(), (path, database.clone()), owned]]);
        let upstream = |name: &str| format!("upstream={name}-1.2-3.el9.src.rpm");
        assert_eq!(
            found.packages.iter().map(|package| package.purl.clone()).collect::<Vec<_>>(),
            [
                format!("pkg:rpm/redhat/alpha@1.2-3.el9?arch=noarch&distro=rhel-9.4&{}", upstream("alpha")),
                format!("pkg:rpm/redhat/beta@1.2-3.el9?arch=noarch&distro=rhel-9.4&epoch=1&{}", upstream("beta")),
            ],
            "{name}"
        );
        assert_eq!(found.packages[0].licenses, ["GPL-2.0-or-later AND MIT"]);
        assert_eq!((found.files, found.files_without_package), (3, 1), "{name}");
        // Whatever is damaged in it, reading ends, and a database that tells nothing is a notice.
        for step in 0..400 {
            let mut damaged = database.clone();
            let at = (step * 7919) % damaged.len().min(8192);
            damaged[at] ^= 0xff;
            if step % 3 == 0 {
                damaged.truncate(at);
            }
            drop(inventory(&[&[(path, damaged)]]));
        }
        let nothing = inventory(&[&[(path, b"nothing of the kind".to_vec())]]);
        assert!(nothing.notices[0].contains("is not a database of rpm's"), "{:?}", nothing.notices);
    }
}

#[test]
fn the_layer_that_first_listed_a_package_brought_it() {
    let package = |name: &str| format!("Package: {name}\nStatus: install ok installed\nVersion: 1\nSource: all (2)\n\n");
    let (a, b, c) = (package("a"), package("b"), package("c"));
    let status = |packages: [&String; 2]| ("var/lib/dpkg/status", format!("{}{}", packages[0], packages[1]));
    // b is removed by the second layer, and comes back with the third.
    let found = inventory(&[&[status([&a, &b])], &[status([&a, &c])], &[("etc/x", "x".to_owned())], &[status([&a, &b])]]);
    let brought: Vec<(&str, usize)> = found.packages.iter().map(|package| (&*package.name, package.places[0].layer)).collect();
    assert_eq!(brought, [("a", 0), ("b", 3)]);
    assert_eq!(found.packages[0].purl, "pkg:deb/debian/a@1?upstream=all%402");
    assert_eq!(found.packages[0].places[0].path, "/var/lib/dpkg/status");
}

#[test]
fn licences_of_dpkg_are_those_of_the_copyright_files_and_its_lists_tell_whose_files_are() {
    let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n";
    let machine = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\n\
                   Files: x\nLicense: Expat\n";
    let found = inventory(&[&[
        ("var/lib/dpkg/status", status),
        ("var/lib/dpkg/info/a.list", "/.\n/usr\n/usr/bin\n/usr/bin/a\n/usr/share/doc/a/copyright\n"),
        ("var/lib/dpkg/info/b.list", "/usr/share/doc/b/copyright\n"),
        ("usr/bin/a", "x"),
        ("usr/bin/other", "x"),
        ("usr/share/doc/a/copyright", machine),
        ("usr/share/doc/b/copyright", "see `/usr/share/common-licenses/LGPL-2.1'.\n"),
    ]]);
    let licenses: Vec<String> = found.packages.iter().map(|package| package.licenses.join(",")).collect();
    assert_eq!(licenses, ["GPL-2.0-or-later,MIT", "LGPL-2.1-only"]);
    assert_eq!((found.files, found.files_without_package), (7, 1));
}

/// A jar; `stored` entries tell their size beforehand, others after their content, as those of
/// `jar` do.
fn jar(files: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut jar = zip::ZipWriter::new_stream(Vec::new());
    for (name, content) in files {
        jar.start_file(*name, options).unwrap();
        jar.write_all(content).unwrap();
    }
    jar.finish().unwrap().into_inner()
}

#[test]
fn jars_without_maven_s_files_get_the_group_by_which_scanners_know_them() {
    let manifest =
        |text: &str| jar(&[("META-INF/MANIFEST.MF", format!("Manifest-Version: 1.0\n{text}\n").into_bytes())], DEFLATED);
    let found = purls(&[&[
        ("lib/spring-core-6.1.14.jar", manifest("Automatic-Module-Name: spring.core")),
        ("lib/spring-boot-starter-web-3.3.5.jar", manifest("Automatic-Module-Name: spring.boot.starter.web")),
        ("lib/micrometer-core-1.13.4.jar", manifest("Automatic-Module-Name: micrometer.core")),
        ("lib/tomcat-embed-el-10.1.31.jar", manifest("Bundle-SymbolicName: org.apache.tomcat-embed-jasper-el")),
        ("lib/limits-0.5.1.jar", manifest("Implementation-Title: com.netflix.limits#limits;0.5.1")),
        ("lib/netty-buffer-4.1.jar", manifest("Automatic-Module-Name: io.netty.buffer")),
        ("lib/acme-x-1.jar", manifest("Automatic-Module-Name: acme.x")),
    ]]);
    assert_eq!(
        found,
        [
            "pkg:maven/acme-x/acme-x@1",
            "pkg:maven/com.netflix.limits/limits@0.5.1",
            "pkg:maven/io.micrometer/micrometer-core@1.13.4",
            "pkg:maven/io.netty.buffer/netty-buffer@4.1",
            "pkg:maven/org.springframework.boot/spring-boot-starter-web@3.3.5",
            "pkg:maven/org.springframework/spring-core@6.1.14",
            "pkg:maven/org.apache.tomcat.embed/tomcat-embed-el@10.1.31",
        ]
    );
}

#[test]
fn what_nobody_reads_in_a_jar_is_passed_over_whatever_form_its_length_has() {
    let noise: Vec<u8> =
        (0..700_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[..2].to_vec()).collect();
    // In what is passed over stands what begins and ends entries.
    let tricky = [b"PK\x07\x08PK\x03\x04PK\x01\x02".repeat(9), noise].concat();
    let pom = b"version=1.0\ngroupId=g\nartifactId=last\n".to_vec();
    let first = jar(
        &[("a.class", tricky.clone()), ("b.class", b"b".repeat(70_000)), ("META-INF/maven/g/last/pom.properties", pom)],
        DEFLATED,
    );
    let descriptors: Vec<usize> = memchr::memmem::find_iter(&first, b"PK\x07\x08")
        .filter(|at| first[at + 16..].starts_with(b"PK\x03\x04") || first[at + 16..].starts_with(b"PK\x01\x02"))
        .collect();
    assert_eq!(descriptors.len(), 3);
    for (has_mark, wide) in [(true, false), (true, true), (false, false), (false, true)] {
        let (mut bytes, mut from) = (Vec::new(), 0);
        for at in &descriptors {
            let (start, sizes) = (at + if has_mark { 0 } else { 4 }, [&first[at + 8..at + 12], &first[at + 12..at + 16]]);
            bytes.extend_from_slice(&first[from..*at]);
            bytes.extend_from_slice(&first[start..at + 8]);
            sizes.iter().for_each(|size| bytes.extend([size, &[0; 4][..if wide { 4 } else { 0 }]].concat()));
            from = at + 16;
        }
        bytes.extend_from_slice(&first[from..]);
        for content in [bytes.clone(), bytes[..bytes.len() / 2].to_vec()] {
            let found = inventory(&[&[
                ("outer-1.jar", jar(&[("inner-2.jar", content.clone())], DEFLATED)),
                ("plain-3.jar", content.clone()),
            ]]);
            let is_whole = content.len() == bytes.len();
            let is_told =
                found.packages.iter().any(|package| package.purl == "pkg:maven/g/last@1.0" && package.places.len() == 2);
            assert_eq!(
                (is_told, found.notices.is_empty()),
                (is_whole, is_whole),
                "mark: {has_mark}, wide: {wide}: {:?}",
                found.notices
            );
        }
    }
}

/// The same with sizes beforehand.
fn seekable(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut jar = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        jar.start_file(*name, options).unwrap();
        jar.write_all(content).unwrap();
    }
    jar.finish().unwrap().into_inner()
}

const DEFLATED: zip::CompressionMethod = zip::CompressionMethod::Deflated;

#[test]
fn a_jar_with_jars_in_it_tells_all_of_them() {
    let pom = |name: &str| format!("#Generated\nversion=1.0\ngroupId=org.example\nartifactId={name}\n").into_bytes();
    let manifest =
        b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.apache.commons.com\r\n press;x=1\r\nBundle-License: Apache-2.0\r\n"
            .to_vec();
    let plain = jar(&[("META-INF/MANIFEST.MF", manifest)], DEFLATED);
    let shaded = jar(
        &[("META-INF/maven/g/one/pom.properties", pom("one")), ("META-INF/maven/g/two/pom.properties", pom("two"))],
        DEFLATED,
    );
    let shading = jar(&[("META-INF/maven/g/three/pom.properties", pom("three"))], DEFLATED);
    let app = seekable(&[
        ("META-INF/MANIFEST.MF", b"Implementation-Version: 3\n".to_vec()),
        ("BOOT-INF/lib/compress-1.26.jar", plain.clone()),
        ("BOOT-INF/lib/one-1.0.jar", shaded),
        ("BOOT-INF/lib/shading-2.jar", shading),
    ]);
    let release = b"IMPLEMENTOR=\"Eclipse Adoptium\"\nJAVA_RUNTIME_VERSION=\"21.0.2+13-LTS\"\nJAVA_VERSION=\"21.0.2\"\n".to_vec();
    // Spring Boot's executable jars begin with a script.
    let app = [b"#!/bin/bash\nexec java -jar \"$0\"\n".to_vec(), app].concat();
    let found = inventory(&[&[
        ("opt/app.jar", app),
        ("opt/compress-1.26.jar", plain.clone()),
        ("opt/notes.jar", b"no archive".to_vec()),
        ("opt/jdk/release", release),
    ]]);
    let purls: Vec<&str> = found.packages.iter().map(|package| &*package.purl).collect();
    assert_eq!(
        purls,
        [
            "pkg:maven/app/app@3",
            "pkg:maven/org.apache.commons.compress/compress@1.26",
            "pkg:maven/org.example/one@1.0",
            "pkg:maven/shading/shading@2",
            "pkg:maven/org.example/three@1.0",
            "pkg:maven/org.example/two@1.0",
            "pkg:generic/oracle/openjdk@21.0.2%2B13-LTS",
        ]
    );
    let compress = &found.packages[1];
    assert_eq!(compress.licenses, ["Apache-2.0"]);
    let places: Vec<&str> = compress.places.iter().map(|place| &*place.path).collect();
    assert_eq!(places, ["/opt/app.jar!/BOOT-INF/lib/compress-1.26.jar", "/opt/compress-1.26.jar"]);
    use sha1::Digest as _;
    let sum: String = sha1::Sha1::digest(&plain).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(compress.checksum, Some(Checksum::Sha1(sum)));
    assert_eq!(found.notices, ["`/opt/notes.jar` was not read to its end: it is not an archive"]);
}

#[test]
fn a_database_that_tells_nothing_is_a_notice_and_what_is_half_installed_is_there() {
    let found = inventory(&[&[
        ("lib/apk/db/installed", b"\x00\x01garbage".to_vec()),
        ("usr/lib/python3/a-1.dist-info/METADATA", b"Version: 1\n".to_vec()),
        ("usr/lib/python3/b-1.dist-info/METADATA", b"\xef\xbb\xbfName: bom\nVersion: 1\n".to_vec()),
        (
            "var/lib/dpkg/status",
            ["installed", "unpacked", "half-configured", "triggers-pending", "config-files", "not-installed"]
                .map(|state| format!("Package: {state}\nStatus: install ok {state}\nVersion: 1\n\n"))
                .concat()
                .into_bytes(),
        ),
    ]]);
    let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["half-configured", "installed", "triggers-pending", "unpacked", "bom"]);
    assert_eq!(
        found.notices,
        [
            "`/lib/apk/db/installed` is not a database of apk's, or a damaged one",
            "`/usr/lib/python3/a-1.dist-info/METADATA` is without a name and a version: the package whose it is was left out",
        ]
    );
}

#[test]
fn hostile_archives_end_with_a_notice_and_keep_what_was_found_before() {
    // 520 MiB of zeros in half a MB, three times packed; they must be read, as a jar may begin
    // late.
    let zeros = {
        let mut packed = zip::ZipWriter::new_stream(Vec::new());
        packed.start_file("zeros-1.jar", zip::write::SimpleFileOptions::default().compression_method(DEFLATED)).unwrap();
        let chunk = vec![0; 1 << 20];
        (0..520).for_each(|_| packed.write_all(&chunk).unwrap());
        packed.finish().unwrap().into_inner()
    };
    let bomb = jar(&[("a-1.jar", jar(&[("b-1.jar", zeros)], DEFLATED))], DEFLATED);
    let found = inventory(&[&[("bomb-1.jar", bomb)]]);
    assert_eq!(found.notices, ["`/bomb-1.jar` unpacks to more than an archive of its size should: it was read in part"]);
    // Archives in archives, deeper than anybody builds.
    let mut nest = jar(&[("x", vec![])], DEFLATED);
    for depth in 0..40 {
        nest = jar(&[(&format!("nest-{depth}.jar"), nest)], DEFLATED);
    }
    let found = inventory(&[&[("nest-1.jar", nest.clone())]]);
    assert_eq!(found.packages.len(), 7);
    assert_eq!(found.notices, ["`/nest-1.jar` was not read to its end: archives lie more than six deep in archives there"]);
    let torn =
        jar(&[("whole-1.jar", jar(&[("x", vec![])], DEFLATED)), ("torn-1.jar", nest[..nest.len() / 2].to_vec())], DEFLATED);
    let found = inventory(&[&[("app-1.jar", torn)]]);
    assert!(found.packages.iter().any(|package| package.name == "whole"));
    let notice = "`/app-1.jar` was not read to its end: an archive in it is damaged, or of a form that is not read";
    assert_eq!(found.notices, [notice]);
    let found = inventory(&[&[
        ("node_modules/a/package.json", b"{".to_vec()),
        ("node_modules/a/test/package.json", b"{".to_vec()),
        ("node_modules/b/package.json", b"{\"name\": \"b\"}".to_vec()),
    ]]);
    assert_eq!(found.notices, ["`/node_modules/a/package.json` is not JSON: the package whose it is was left out"]);
    // Cut off, or damaged anywhere: no crash, and what comes later in the layer is found.
    for step in 0..600 {
        let mut damaged = nest.clone();
        let at = (step * 31) % damaged.len();
        if step % 2 == 0 {
            damaged.truncate(at)
        } else {
            damaged[at] ^= 0x55
        };
        let found = inventory(&[&[
            ("a-1.jar", damaged),
            ("b/node_modules/c/package.json", br#"{"name": "c", "version": "1"}"#.to_vec()),
        ]]);
        assert!(found.packages.iter().any(|package| package.name == "c"));
    }
}

#[test]
fn a_program_tells_the_modules_and_crates_that_it_was_built_of() {
    let varint = |length: usize| {
        let (low, high) = (u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap());
        vec![low, high]
    };
    let modules = "path\tgithub.com/me/app\nmod\tgithub.com/me/app\t(devel)\t\ndep\tgolang.org/x/net\tv0.20.0\th1:a=\n\
                   dep\tgithub.com/a/b\tv1\th1:a=\n=>\tgithub.com/fork/b\tv2\th1:b=\nbuild\tvcs.revision=0123456789abcdef\n\
                   build\tvcs.time=2024-02-29T12:00:00Z\n";
    let modules = [&[7; 16][..], modules.as_bytes(), &[8; 16]].concat();
    let information =
        [b"\xff Go buildinf:\x08\x02".to_vec(), vec![0; 16], varint(8), b"go1.22.1".to_vec(), varint(modules.len()), modules]
            .concat();
    let list =
        br#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1","kind":"build"}]}"#;
    let mut packed = flate2::read::ZlibEncoder::new(&list[..], flate2::Compression::best());
    let mut section = Vec::new();
    packed.read_to_end(&mut section).unwrap();
    // Noise with many beginnings of compressed data; what is looked for lies across the border of
    // what is read at a time.
    let noise = |length: usize| (0..length).map(|at| [0x78, 0x9c, 0x01, 0xff][(at * at / 7) % 4]).collect::<Vec<u8>>();
    for border in [256 * 1024 - 8, 256 * 1024 - 1024, 300 * 1024] {
        let at = border / 16 * 16;
        let mut go = [b"\x7fELF".to_vec(), noise(at - 4)].concat();
        go.extend(&information);
        let rust = [b"\x7fELF".to_vec(), noise(border - 3), section.clone(), noise(5000)].concat();
        let files: &[(&str, Vec<u8>)] = &[("usr/bin/go", go), ("usr/bin/rust", rust), ("not/a/program", information.clone())];
        assert_eq!(
            purls(&[files]),
            [
                "pkg:cargo/serde@1.0.1",
                "pkg:golang/github.com/fork/b@v2",
                "pkg:golang/github.com/me/app@v0.0.0-20240229120000-0123456789ab",
                "pkg:golang/golang.org/x/net@v0.20.0",
                "pkg:golang/stdlib@1.22.1",
            ],
            "{border}"
        );
    }
}

#[test]
fn files_that_are_too_large_are_a_notice() {
    let found = inventory(&[&[("app/Cargo.lock", vec![b' '; (64 << 20) + 1])]]);
    assert_eq!(found.notices, ["`/app/Cargo.lock` has 67108865 bytes, more than such a file should: it was not read"]);
    let many = "Package: a\nVersion: 1\n\n".repeat(100_001);
    let found = inventory(&[&[("var/lib/dpkg/status", many)]]);
    assert_eq!(found.notices, ["`/var/lib/dpkg/status` lists more than 100000 packages: the others were left out"]);
    assert_eq!(found.packages.len(), 1);
    let one: &Package = &found.packages[0];
    assert_eq!(one.kind, PackageKind::Debian);
}
