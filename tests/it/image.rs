//! Images in layouts and archives, judged by skopeo and umoci.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mpimg::image::{Format, History, Image, ImageConfig, Layer, Transport, import_rootfs, validate};
use mpimg::oci::{Descriptor, DiffId, Digest, Hasher, MediaType, Platform, Reference};
use mpimg::store::{BlobSource, Store};
use mpimg::{Error, ErrorKind, Result};

use crate::{judge, run};

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn transport(&self, prefix: &str, rest: &str) -> Transport {
        Transport::parse(&self.text(prefix, rest)).unwrap()
    }

    /// `prefix:/temporary/folder/rest`
    fn text(&self, prefix: &str, rest: &str) -> String {
        format!("{prefix}:{}/{rest}", self.dir.path().display())
    }

    fn read(&self, prefix: &str, rest: &str) -> Result<Image> {
        self.transport(prefix, rest).read(&self.store, &Platform::default(), None)
    }

    async fn write(&self, image: &Image, prefix: &str, rest: &str) {
        self.transport(prefix, rest).write(&self.store, image).await.unwrap();
    }
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Stands in for the layer pipeline.
fn pack(store: &Store, tar: &mut dyn Read) -> Result<Layer> {
    let mut bytes = Vec::new();
    tar.read_to_end(&mut bytes).map_err(|error| Error::new(ErrorKind::Corrupt, "cannot read the tar").with_source(error))?;
    layer(store, &bytes, MediaType::LayerGzip, &gzip(&bytes))
}

fn layer(store: &Store, tar: &[u8], media_type: MediaType, stored: &[u8]) -> Result<Layer> {
    let descriptor = store.put(media_type, stored)?;
    let source = BlobSource::File(store.blob_path(&descriptor.digest));
    Ok(Layer { diff_id: DiffId(Digest::of(tar)), descriptor, source })
}

/// Two layers, and every field of the configuration.
fn image(store: &Store, word: &str, media_type: MediaType) -> Image {
    let base = tar(&[("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("etc/motd", "hello")]);
    let top = tar(&[("app/main.py", word), ("etc/.wh.motd", "")]);
    let layers = [base, top].map(|tar| {
        let stored = match media_type {
            MediaType::Layer => tar.clone(),
            MediaType::LayerZstd => zstd::encode_all(&tar[..], 1).unwrap(),
            _ => gzip(&tar),
        };
        layer(store, &tar, media_type.clone(), &stored).unwrap()
    });
    let mut config = ImageConfig::scratch(&Platform::default());
    config.created = Some("2024-01-01T00:00:00Z".into());
    config.history = ["COPY base /", "ENV WORD=1", "COPY app app"]
        .map(|step| History::new(1_704_067_200, step, step.starts_with("ENV")))
        .to_vec();
    config.config.set_env("PATH", "/usr/bin:/bin");
    config.config.cmd = Some(vec!["cat".into(), "/app/main.py".into()]);
    config.config.working_dir = "/app".into();
    config.config.exposed_ports.insert("8080/tcp".into());
    config.config.labels.insert("word".into(), word.into());
    Image::assemble(config, layers.into(), BTreeMap::new(), Format::Oci).unwrap()
}

fn skopeo(arguments: &[&str]) -> String {
    run(judge("skopeo").arg("--insecure-policy").args(arguments))
}

fn inspect(image: &str) -> serde_json::Value {
    serde_json::from_str(&skopeo(&["inspect", image])).unwrap()
}

/// What skopeo sees in an image that mpimg wrote.
fn assert_seen(image: &Image, text: &str) {
    let seen = inspect(text);
    assert_eq!(seen["Digest"], image.descriptor().digest.to_string(), "{text}");
    assert_eq!(seen["Labels"]["word"], image.config().config.labels["word"].as_str());
    let layers: Vec<_> = image.layers().iter().map(|layer| layer.descriptor.digest.to_string()).collect();
    assert_eq!(seen["Layers"], serde_json::json!(layers));
}

fn diff_ids(image: &Image) -> Vec<DiffId> {
    image.layers().iter().map(|layer| layer.diff_id).collect()
}

fn umoci_ls(layout: &Path) -> Vec<String> {
    let mut tags: Vec<_> = run(judge("umoci").args(["ls", "--layout"]).arg(layout)).lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

#[tokio::test]
async fn skopeo_and_umoci_read_a_layout_of_several_images() {
    let place = Place::new();
    let (one, two) = (image(&place.store, "one", MediaType::LayerGzip), image(&place.store, "two", MediaType::LayerGzip));
    place.write(&one, "oci", "layout:v1").await;
    place.write(&two, "oci", "layout:v2").await;
    place.write(&two, "oci", "layout:v1").await;
    place.write(&one, "oci", "layout:v1").await;
    assert_seen(&one, &place.text("oci", "layout:v1"));
    assert_seen(&two, &place.text("oci", "layout:v2"));
    let layout = place.path("layout");
    assert_eq!(umoci_ls(&layout), ["v1", "v2"]);
    let bundle = place.path("bundle");
    let mut unpack = judge("umoci");
    unpack.args(["unpack", "--rootless", "--image"]).arg(format!("{}:v2", layout.display())).arg(&bundle);
    run(&mut unpack);
    assert_eq!(fs::read_to_string(bundle.join("rootfs/app/main.py")).unwrap(), "two");
    assert!(bundle.join("rootfs/etc/passwd").exists() && !bundle.join("rootfs/etc/motd").exists());
    // What others write beside it stays, and is read.
    skopeo(&["copy", "-q", &place.text("oci", "layout:v1"), &place.text("oci", "layout:v3")]);
    place.write(&two, "oci", "layout:v4").await;
    assert_eq!(umoci_ls(&layout), ["v1", "v2", "v3", "v4"]);
    let read = place.read("oci", "layout:v3").unwrap();
    assert_eq!(read.config(), one.config());
    validate(&read).await.unwrap();
    let error = place.read("oci", "layout").unwrap_err();
    assert_eq!(error.hint(), Some("add one of these tags: v1, v2, v3, v4"));
}

#[tokio::test]
async fn skopeo_reads_our_archives_and_we_read_skopeos() {
    let place = Place::new();
    for media_type in [MediaType::LayerGzip, MediaType::Layer, MediaType::LayerZstd] {
        let image = image(&place.store, "hello", media_type.clone());
        place.write(&image, "oci-archive", "oci.tar:v1").await;
        assert_seen(&image, &place.text("oci-archive", "oci.tar:v1"));
        place.write(&image, "docker-archive", "docker.tar:app:1").await;
        let seen = inspect(&place.text("docker-archive", "docker.tar:app:1"));
        assert_eq!((&seen["Labels"]["word"], &seen["Env"][0]), (&"hello".into(), &"PATH=/usr/bin:/bin".into()));
        skopeo(&["copy", "-q", &place.text("docker-archive", "docker.tar:app:1"), &place.text("oci", "from-docker:v1")]);
        let back = place.read("oci", "from-docker:v1").unwrap();
        assert_eq!((back.config(), diff_ids(&back)), (image.config(), diff_ids(&image)), "{media_type}");
        validate(&back).await.unwrap();

        for text in ["oci.tar:v1", "oci.tar"] {
            let read = place.read("oci-archive", text).unwrap();
            assert_eq!(read.descriptor(), image.descriptor());
            validate(&read).await.unwrap();
        }
        let read = place.read("docker-archive", "docker.tar:app:1").unwrap();
        assert_eq!(read.config_bytes(), image.config_bytes());
        validate(&read).await.unwrap();
        fs::remove_dir_all(place.path("from-docker")).unwrap();
    }
    let image = image(&place.store, "hello", MediaType::LayerGzip);
    place.write(&image, "oci", "layout:v1").await;
    skopeo(&["copy", "-q", &place.text("oci", "layout:v1"), &place.text("docker-archive", "skopeo.tar:app:1")]);
    skopeo(&["copy", "-q", &place.text("oci", "layout:v1"), &place.text("oci-archive", "skopeo-oci.tar:v1")]);
    let read = place.read("oci-archive", "skopeo-oci.tar:v1").unwrap();
    assert_eq!(read.config_bytes(), image.config_bytes());
    validate(&read).await.unwrap();
    fs::write(place.path("skopeo.tar.gz"), gzip(&fs::read(place.path("skopeo.tar")).unwrap())).unwrap();
    for file in ["skopeo.tar", "skopeo.tar.gz"] {
        let plain = place.read("docker-archive", file).unwrap();
        assert!(plain.layers().iter().all(|layer| layer.descriptor.media_type == MediaType::Layer));
        let packed = place.transport("docker-archive", &format!("{file}:app:1"));
        let pack = |tar: &mut dyn Read| pack(&place.store, tar);
        let packed = packed.read(&place.store, &Platform::default(), Some(&pack)).unwrap();
        assert!(packed.layers().iter().all(|layer| layer.descriptor.media_type == MediaType::LayerGzip));
        for read in [plain, packed] {
            assert_eq!(diff_ids(&read), diff_ids(&image));
            validate(&read).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_same_image_gives_the_same_archive() {
    let (a, b) = (Place::new(), Place::new());
    for (place, name) in [(&a, "first.tar"), (&b, "second.tar")] {
        let image = image(&place.store, "hello", MediaType::LayerGzip);
        place.write(&image, "docker-archive", &format!("{name}:app:1")).await;
        place.write(&image, "oci-archive", &format!("oci-{name}:1")).await;
    }
    for prefix in ["", "oci-"] {
        let read = |place: &Place, name: &str| fs::read(place.path(&format!("{prefix}{name}"))).unwrap();
        assert!(read(&a, "first.tar") == read(&b, "second.tar"));
    }
    let tar = run(judge("tar").arg("tvf").arg(a.path("first.tar")));
    assert!(tar.lines().all(|line| line.starts_with("-rw-r--r-- 0/0")), "{tar}");
}

#[tokio::test]
async fn several_writers_of_one_layout_lose_nothing() {
    let place = Place::new();
    let image = image(&place.store, "hello", MediaType::LayerGzip);
    let tags: Vec<_> = (0..8).map(|number| format!("v{number}")).collect();
    let writes = tags.iter().map(|tag| {
        let (transport, store, image) = (place.transport("oci", &format!("layout:{tag}")), place.store.clone(), image.clone());
        tokio::spawn(async move { transport.write(&store, &image).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(umoci_ls(&place.path("layout")), tags);
}

#[tokio::test]
async fn a_folder_with_other_files_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("home")).unwrap();
    fs::write(place.path("home/notes.txt"), "x").unwrap();
    let image = image(&place.store, "hello", MediaType::LayerGzip);
    let error = place.transport("oci", "home:v1").write(&place.store, &image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(fs::read_dir(place.path("home")).unwrap().count(), 1);
}

#[tokio::test]
async fn an_image_survives_the_store_with_its_bytes() {
    let place = Place::new();
    let image = image(&place.store, "hello", MediaType::LayerGzip);
    let name = Transport::parse("app:1").unwrap();
    name.write(&place.store, &image).await.unwrap();
    let read = name.read(&place.store, &Platform::default(), None).unwrap();
    assert_eq!((read.manifest_bytes(), read.config_bytes()), (image.manifest_bytes(), image.config_bytes()));
    validate(&read).await.unwrap();
    let missing = Transport::parse("app:2").unwrap().read(&place.store, &Platform::default(), None).unwrap_err();
    assert_eq!((missing.kind(), missing.hint()), (ErrorKind::NotFound, Some("`mpimg images` lists what is there")));
    let registry = Transport::parse("docker://app:1").unwrap();
    assert_eq!(registry.write(&place.store, &image).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_layout_goes_into_the_store_whole() {
    let (from, to) = (Place::new(), Place::new());
    let image = image(&from.store, "hello", MediaType::LayerGzip);
    from.write(&image, "oci", "layout:v1").await;
    let read = from.transport("oci", "layout:v1").read(&to.store, &Platform::default(), None).unwrap();
    let record = read.write_to_store(&to.store).await.unwrap();
    to.store.tag(&Reference::parse("app").unwrap(), &record).unwrap();
    fs::remove_dir_all(from.path("layout")).unwrap();
    let never = |_: &_, _: &_| -> Result<BlobSource> { panic!("everything is local") };
    validate(&Image::read_from_store(&to.store, &record, never).unwrap()).await.unwrap();
}

#[test]
fn a_manifest_and_a_config_that_do_not_belong_together_make_no_image() {
    let place = Place::new();
    let (one, two) = (image(&place.store, "one", MediaType::LayerGzip), image(&place.store, "two", MediaType::LayerGzip));
    let sources: Vec<_> = one.layers().iter().map(|layer| layer.source.clone()).collect();
    let parts = |config: &Bytes, sources: &[BlobSource]| {
        Image::from_parts(one.manifest_bytes().clone(), None, config.clone(), sources.to_vec()).map(|_| ()).map_err(|e| e.kind())
    };
    assert_eq!(parts(one.config_bytes(), &sources), Ok(()));
    assert_eq!(parts(two.config_bytes(), &sources), Err(ErrorKind::Corrupt));
    assert_eq!(parts(one.config_bytes(), &sources[..1]), Err(ErrorKind::Corrupt));
    let chart = String::from_utf8(one.manifest_bytes().to_vec()).unwrap();
    let chart = chart.replace("oci.image.config.v1+json", "cncf.helm.config.v1+json");
    let error = Image::from_parts(chart.into(), None, one.config_bytes().clone(), sources).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn validation_finds_a_changed_byte_anywhere_in_a_layer() {
    let place = Place::new();
    for media_type in [MediaType::LayerGzip, MediaType::Layer, MediaType::LayerZstd] {
        let image = image(&place.store, "hello", media_type);
        place.write(&image, "oci", "layout:v1").await;
        let read = place.read("oci", "layout:v1").unwrap();
        validate(&read).await.unwrap();
        let BlobSource::File(path) = &read.layers()[1].source else { panic!("not a file") };
        let whole = fs::read(path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(path, damaged).unwrap();
            let error = validate(&read).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.causes()[0].contains(&read.layers()[1].descriptor.digest.to_string()), "{error:?}");
        }
        fs::write(path, [&whole[..], b"x"].concat()).unwrap();
        assert!(validate(&read).await.is_err());
        fs::remove_dir_all(place.path("layout")).unwrap();
    }
}

#[tokio::test]
async fn validation_finds_a_diff_id_that_is_not_the_layers() {
    let place = Place::new();
    let tar = tar(&[("a", "b")]);
    let mut lying = layer(&place.store, &tar, MediaType::LayerGzip, &gzip(&tar)).unwrap();
    lying.diff_id = DiffId(Digest::of("other"));
    let config = ImageConfig::scratch(&Platform::default());
    let image = Image::assemble(config, vec![lying], BTreeMap::new(), Format::Oci).unwrap();
    let error = validate(&image).await.unwrap_err();
    assert!(error.causes()[0].ends_with("has another diff ID"), "{error:?}");
}

#[test]
fn a_history_of_too_many_layers_makes_no_image() {
    let mut config = ImageConfig::scratch(&Platform::default());
    config.history = vec![History::new(0, "COPY a b", false)];
    let error = Image::assemble(config, vec![], BTreeMap::new(), Format::Oci).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// A docker archive as docker before 25 wrote it: a folder a layer, a repeated layer as a link to
/// the first.
fn legacy_archive(layers: &[Vec<u8>], links: &[(&str, &str)], names: &[&str], tags: &str) -> (Vec<u8>, Vec<u8>) {
    let diff_ids: Vec<_> = names.iter().map(|name| format!("\"{}\"", layer_named(layers, links, name))).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","container":"abc","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = format!(r#"[{{"Config":"{config_name}","RepoTags":{tags},"Layers":[{}]}}]"#, names.join(","));
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for (number, layer) in layers.iter().enumerate() {
        add(&format!("{number}/layer.tar"), layer);
    }
    add(&config_name, config.as_bytes());
    add("manifest.json", manifest.as_bytes());
    for (name, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    (builder.into_inner().unwrap(), config.into_bytes())
}

fn layer_named(layers: &[Vec<u8>], links: &[(&str, &str)], name: &str) -> Digest {
    let target = links.iter().find(|(link, _)| *link == name).map_or(name, |(_, target)| target.trim_start_matches("../"));
    let number: usize = target.split('/').next().unwrap().parse().unwrap();
    Digest::of(&layers[number])
}

#[tokio::test]
async fn an_old_docker_archive_with_linked_layers_is_read_and_keeps_its_image_id() {
    let place = Place::new();
    let layers = [tar(&[("a", "1")]), tar(&[("b", "2")])];
    let names = ["0/layer.tar", "1/layer.tar", "2/layer.tar"];
    let (archive, config) = legacy_archive(&layers, &[("2/layer.tar", "../0/layer.tar")], &names, r#"["app:1","app:latest"]"#);
    fs::write(place.path("old.tar"), archive).unwrap();
    let read = place.read("docker-archive", "old.tar:docker.io/library/app").unwrap();
    assert_eq!(read.config_bytes(), &config);
    assert_eq!(diff_ids(&read), [0, 1, 0].map(|number: usize| DiffId(Digest::of(&layers[number]))));
    validate(&read).await.unwrap();
    let error = place.read("docker-archive", "old.tar:app:2").unwrap_err();
    assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("add one of these names: app:1, app:latest")));
}

#[test]
fn damaged_and_hostile_archives_are_refused_and_leave_no_blob() {
    let place = Place::new();
    let layers = [tar(&[("a", "1")])];
    let (good, _) = legacy_archive(&layers, &[], &["0/layer.tar"], "null");
    let replace = |from: &str, to: &str| {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let member = |name: &str, kind: tar::EntryType, link: &str, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    use tar::EntryType;
    let loops =
        [member("manifest.json", EntryType::Symlink, "x", 0), member("x", EntryType::Symlink, "manifest.json", 0)].concat();
    for (why, archive) in [
        ("a missing layer", replace("\"0/layer.tar\"", "\"9/layer.tar\"")),
        ("a config that is none", replace("\"layers\"", "\"lAyers\"")),
        ("an end in the middle", good[..good.len() / 3].to_vec()),
        ("links in a circle", loops),
        ("a link out of it", member("manifest.json", EntryType::Symlink, "../../../../etc/passwd", 0)),
        ("a name out of it", member("../manifest.json", EntryType::Regular, "", 0)),
        ("a long name of a terabyte", member("x", EntryType::GNULongName, "", 1 << 40)),
        ("a size beyond measure", member("x", EntryType::Regular, "", u64::MAX)),
        ("no tar", b"hello".to_vec()),
        ("nothing", Vec::new()),
    ] {
        fs::write(place.path("bad.tar"), archive).unwrap();
        let error = place.read("docker-archive", "bad.tar").unwrap_err();
        let expected = [ErrorKind::Corrupt, ErrorKind::NotFound, ErrorKind::Unsupported];
        assert!(expected.contains(&error.kind()), "{why}: {error:?}");
    }
    // The layer's own content, which its header's checksum does not cover.
    let mut other = good.clone();
    assert_eq!(std::mem::replace(&mut other[1024], b'2'), b'1');
    fs::write(place.path("bad.tar"), other).unwrap();
    assert_eq!(place.read("docker-archive", "bad.tar").unwrap_err().kind(), ErrorKind::Corrupt);
    fs::write(place.path("good.tar"), good).unwrap();
    place.read("docker-archive", "good.tar").unwrap();
}

#[tokio::test]
async fn a_layout_with_a_damaged_document_is_refused() {
    let place = Place::new();
    let image = image(&place.store, "hello", MediaType::LayerGzip);
    for what in ["index.json", "oci-layout", "manifest", "config"] {
        place.write(&image, "oci", "layout:v1").await;
        let layout = place.path("layout");
        let blob = |digest: &Digest| layout.join("blobs/sha256").join(digest.hex());
        match what {
            "index.json" => fs::write(layout.join(what), "{}").unwrap(),
            "oci-layout" => fs::write(layout.join(what), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap(),
            "manifest" => fs::write(blob(&image.descriptor().digest), vec![b' '; 5 << 20]).unwrap(),
            _ => fs::remove_file(blob(&image.manifest().config.digest)).unwrap(),
        }
        assert!(place.read("oci", "layout:v1").is_err(), "{what}");
        fs::remove_dir_all(layout).unwrap();
    }
}

#[tokio::test]
async fn the_image_for_the_platform_is_chosen_from_a_nested_index() {
    let place = Place::new();
    let (amd, arm) = (image(&place.store, "amd", MediaType::LayerGzip), image(&place.store, "arm", MediaType::LayerGzip));
    for image in [&amd, &arm] {
        place.write(image, "oci", "layout").await;
    }
    let entry = |image: &Image, platform: &str| {
        let platform = Platform::parse(platform).unwrap();
        serde_json::to_value(Descriptor { platform: Some(platform), ..image.descriptor().clone() }).unwrap()
    };
    let nested = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::Index.as_str(),
        "manifests": [entry(&amd, "linux/amd64"), entry(&arm, "linux/arm64")],
    });
    let nested = nested.to_string();
    let blobs = place.path("layout/blobs/sha256");
    fs::write(blobs.join(Digest::of(&nested).hex()), &nested).unwrap();
    let outer = serde_json::json!({
        "schemaVersion": 2, "manifests": [Descriptor::of(MediaType::Index, nested.as_bytes())],
    });
    fs::write(place.path("layout/index.json"), outer.to_string()).unwrap();
    let read = |platform: &str| place.transport("oci", "layout").read(&place.store, &Platform::parse(platform).unwrap(), None);
    assert_eq!(read("linux/amd64").unwrap().descriptor().digest, amd.descriptor().digest);
    assert_eq!(read("linux/arm64").unwrap().descriptor().digest, arm.descriptor().digest);
    let error = read("linux/s390x").unwrap_err();
    assert_eq!(error.hint(), Some("choose one of these with `platform`: linux/amd64, linux/arm64"));
}

#[tokio::test]
async fn a_root_file_system_becomes_an_image() {
    let place = Place::new();
    let tar = tar(&[("bin/sh", "#!"), ("etc/hostname", "x")]);
    fs::write(place.path("rootfs.tar"), &tar).unwrap();
    for program in ["bzip2", "xz", "zstd"] {
        let packed = judge(program).arg("-c").arg(place.path("rootfs.tar")).output().unwrap().stdout;
        fs::write(place.path(program), packed).unwrap();
    }
    let members = [gzip(&tar[..700]), gzip(&tar[700..])].concat();
    fs::write(place.path("gzip"), &members).unwrap();
    fs::write(place.path("padded"), [&members[..], &[0; 600]].concat()).unwrap();
    let pack = |tar: &mut dyn Read| pack(&place.store, tar);
    for file in ["rootfs.tar", "gzip", "padded", "bzip2", "xz", "zstd"] {
        let image = import_rootfs(&place.store, &place.path(file), &Platform::default(), 0, &pack).unwrap();
        assert_eq!(diff_ids(&image), [DiffId(Digest::of(&tar))], "{file}");
        assert_eq!(image.layers()[0].descriptor.digest == Digest::of(&members), file == "gzip", "{file}");
        assert_eq!(image.config().history[0].comment, Some(format!("imported from {file}")));
        validate(&image).await.unwrap();
    }
    place.write(&import_rootfs(&place.store, &place.path("gzip"), &Platform::default(), 0, &pack).unwrap(), "oci", "l:v1").await;
    assert_eq!(inspect(&place.text("oci", "l:v1"))["Created"], "1970-01-01T00:00:00Z");

    let import = |bytes: &[u8]| {
        fs::write(place.path("bad"), bytes).unwrap();
        import_rootfs(&place.store, &place.path("bad"), &Platform::default(), 0, &pack).map(|_| ()).map_err(|error| error.kind())
    };
    assert_eq!(import(b"hello"), Err(ErrorKind::Corrupt));
    assert_eq!(import(&gzip(b"hello")), Err(ErrorKind::Corrupt));
    assert_eq!(import(&members[..members.len() - 3]), Err(ErrorKind::Corrupt));
    assert_eq!(import(&[&members[..], b"garbage"].concat()), Err(ErrorKind::Corrupt));
}

#[test]
fn a_tar_that_gnu_tar_made_with_long_names_and_sparse_files_is_walked_to_its_end() {
    let place = Place::new();
    let tree = place.path("tree");
    let deep = tree.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(120)), "x").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), tree.join("link")).unwrap();
    let sparse = File::create(tree.join("sparse")).unwrap();
    // Enough holes for a map that goes beyond the header.
    for number in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[1; 4096], number << 16).unwrap();
    }
    for format in
        ["gnu --sparse", "pax --sparse", "oldgnu --sparse", "ustar --exclude=link --exclude=d*", "v7 --exclude=link --exclude=d*"]
    {
        let file = place.path("made.tar.gz");
        let mut command = judge("tar");
        command.args(["-czf"]).arg(&file).arg("-C").arg(&tree);
        command.args(format!("--format={format}").split(' ')).arg(".");
        run(&mut command);
        let never = |_: &mut dyn Read| -> Result<Layer> { panic!("gzip is kept as it is") };
        let image = import_rootfs(&place.store, &file, &Platform::default(), 0, &never).unwrap();
        let mut hasher = Hasher::new();
        io::copy(&mut flate2::read::MultiGzDecoder::new(File::open(&file).unwrap()), &mut hasher).unwrap();
        assert_eq!(diff_ids(&image), [DiffId(hasher.finish())], "{format}");
    }
}
