//! config.json against the Python that the SDK writes it with.

use std::fs;
use std::path::Path;

use mpimg::project::{ContainerRepository, ProjectConfig};

use super::judge;

/// What the SDK's `set_config_value` leaves of the file.
fn written_by_python(file: &Path, value: &str) -> String {
    let program = "import json, sys\n\
        config = json.load(open(sys.argv[1]))\n\
        config['container_repository'] = sys.argv[2]\n\
        json.dump(config, sys.stdout, indent=4, sort_keys=True)";
    let output = judge("python3").env("PYTHONUTF8", "1").args(["-c", program]).arg(file).arg(value).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_written_config_is_byte_for_byte_the_sdks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    for text in [
        "{}",
        r#"{"use_default_registry": null, "default_memory_limit": 1024, "container_repository": null}"#,
        r#"{"b": [], "a": {}, "c": [1, -2.5, true, null, "x", [[]], [{"z": 1, "y": {"x": []}}]]}"#,
        "{\"\u{e9}\": \"\u{1f600}\u{7f}\u{80}\", \"Z\": \"\\u0000\\t\\b\\f\\r\\n\\\\\\\"/\", \"z\": 1, \"\u{fffd}\": 2, \"\u{10000}\": 3}",
        r#"{"a": 1, "a": {"b": 2}, "n": 123456789012345678901234567890}"#,
    ] {
        fs::write(&file, text).unwrap();
        let expected = written_by_python(&file, "docker.io/user/repo");
        let mut config = ProjectConfig::read(folder.path()).unwrap();
        config.set_container_repository(&ContainerRepository::parse("user/repo").unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{text}");
    }
}
