//! Configuration files: every broken one is refused with exactly the expected text, every example is accepted.

use std::fs;
use std::path::{Path, PathBuf};

use control::config::{load, to_toml};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// `UPDATE_EXPECTED=1` writes the texts anew; look at the difference before you commit it.
#[test]
fn broken_files_are_refused_with_the_expected_text() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let files = files(&dir, "toml");
    assert!(files.len() >= 15, "the broken files are missing");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let report = load(&fs::read_to_string(&path).unwrap(), name).expect_err(name) + "\n";
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &report).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if report != expected {
            wrong.push(format!("{name} is refused with\n{report}\nand not with\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_valid_and_survive_being_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let files = files(&dir, "toml");
    for name in ["minimal", "vlans", "uplink", "bond-uplink", "isolation", "two-switches", "nat-gateway"] {
        assert!(files.iter().any(|path| path.file_stem().unwrap() == name), "{name}.toml is missing");
    }
    for path in files {
        let config = load(&fs::read_to_string(&path).unwrap(), &path.display().to_string()).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.port.is_empty());
        assert_eq!(load(&to_toml(&config), "written").unwrap(), config);
    }
}

#[test]
fn the_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/vswitch.schema.json");
    let stored = fs::read_to_string(path).unwrap();
    assert!(stored == control::config::schema::text(), "write it anew: vswitchd --print-schema > configs/vswitch.schema.json");
}

#[test]
fn every_prefix_of_an_example_is_read_or_refused() {
    // Half a file must never bring the daemon down, whatever is missing.
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/two-switches.toml")).unwrap();
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        let _ = load(&text[..end], "prefix");
    }
}
