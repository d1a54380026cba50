//! The same sources, lock file and toolchain give one digest: in two places, with two cargo homes, from empty target
//! directories, whatever else the environment and cargo's configuration say.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Runs, countersign, root};

/// A directory with the projects in it, a cargo home and an empty target directory.
struct Place {
    directory: PathBuf,
    /// Environment of the build beyond what names these.
    environment: Vec<(&'static str, &'static str)>,
}

impl Place {
    /// Copies the SDK and one example as a checkout has them, and makes a project by `countersign new`.
    fn new(directory: PathBuf) -> Self {
        let cargo = directory.join("home/cargo");
        fs::create_dir_all(&cargo).expect("a cargo home");
        fs::create_dir_all(directory.join("examples")).expect("a folder");
        // What was fetched before, so that nothing is fetched again.
        let registry = users_cargo_home().join("registry");
        std::os::unix::fs::symlink(registry, cargo.join("registry")).expect("a link");
        copy(&root().join("sdk"), &directory);
        copy(&root().join("examples/expired-blocks"), &directory.join("examples"));
        countersign().current_dir(&directory).args(["new", "fresh"]).ran().expect(0);
        let lock = fs::read_to_string(root().join("examples/expired-blocks/Cargo.lock")).expect("a lock file");
        let lock = lock.replace("name = \"expired-blocks\"", "name = \"fresh\"");
        fs::write(directory.join("fresh/Cargo.lock"), lock).expect("a lock file");
        Self { directory, environment: Vec::new() }
    }

    /// Has everything say otherwise that could: each of it alone would change the bytes, or fail the build.
    fn contrary(mut self) -> Self {
        let config = "[build]\nrustflags = [\"-Copt-level=1\"]\nrustc-wrapper = \"/bin/false\"\n\
            [profile.release]\ndebug = true\nstrip = false\nopt-level = 1\nincremental = true\n\
            [profile.release.package.\"*\"]\nopt-level = 1\n\
            [target.wasm32-unknown-unknown]\nrustflags = [\"-Copt-level=1\"]\nlinker = \"/bin/false\"\n\
            [target.wasm32-wasip2]\nrustflags = [\"-Copt-level=1\"]\nlinker = \"/bin/false\"\n\
            [env]\nCARGO_PROFILE_RELEASE_LTO = \"off\"\n";
        for home in [".cargo", "fresh/.cargo", "home/cargo"] {
            let home = self.directory.join(home);
            fs::create_dir_all(&home).expect("a folder");
            fs::write(home.join("config.toml"), config).expect("a configuration");
        }
        self.environment = vec![
            ("RUSTFLAGS", "-Copt-level=1"),
            ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=1"),
            ("CARGO_BUILD_RUSTFLAGS", "-Copt-level=1"),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "/bin/false"),
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
            ("CARGO_INCREMENTAL", "1"),
            ("RUSTC", "/bin/false"),
            ("RUSTC_WRAPPER", "/bin/false"),
            ("RUSTC_WORKSPACE_WRAPPER", "/bin/false"),
            ("SOURCE_DATE_EPOCH", "1"),
            ("TZ", "Asia/Tokyo"),
            ("LC_ALL", "C"),
        ];
        self
    }

    /// Builds one project; gives what `build` says.
    fn build(&self, project: &str) -> Value {
        let mut command = countersign();
        command.args(["--json", "build"]).arg(self.directory.join(project));
        command.arg("--out").arg(self.bundle(project));
        command.env_remove("RUSTFLAGS").env("CARGO_HOME", self.directory.join("home/cargo"));
        command.env("CARGO_TARGET_DIR", self.directory.join("target"));
        command.envs(self.environment.iter().copied()).ran().expect(0).json()
    }

    fn bundle(&self, project: &str) -> PathBuf {
        self.directory.join("bundles").join(Path::new(project).file_name().expect("a name"))
    }
}

fn users_cargo_home() -> PathBuf {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").expect("a home")).join(".cargo"))
}

/// With its symbolic links as they are, without what was built in it.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts").success());
    let copied = to.join(from.file_name().expect("a name"));
    for built in ["target", "bundle", "rust/target"] {
        let _ = fs::remove_dir_all(copied.join(built));
    }
}

#[test]
fn two_places_and_two_cargo_homes_give_one_digest() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let plain = Place::new(temporary.path().join("a"));
    let contrary = Place::new(temporary.path().join("another/and/deeper")).contrary();
    // For both compilers' targets.
    let projects = ["fresh", "examples/expired-blocks"];
    let build = |place: &Place| projects.map(|project| place.build(project));
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| build(&plain));
        let second = build(&contrary);
        (first.join().expect("it builds"), second)
    });
    for ((project, first), second) in projects.iter().zip(first).zip(second) {
        assert_eq!(first["steps"], second["steps"], "{project}");
        assert_eq!(first["bundle"], second["bundle"], "{project}");
        assert_eq!(first["outside"], serde_json::json!([]), "{project}");
        // Nor does a path of this machine stand in it.
        let blobs = plain.bundle(project).join("blobs/sha256");
        for blob in fs::read_dir(blobs).expect("there are blobs") {
            let bytes = fs::read(blob.expect("a blob").path()).expect("it can be read");
            for path in [temporary.path().to_path_buf(), users_cargo_home(), sysroot()] {
                let path = path.to_str().expect("UTF-8").as_bytes();
                assert!(!bytes.windows(path.len()).any(|part| part == path), "{project} holds a path");
            }
        }
    }
}

fn sysroot() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc starts");
    PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").trim())
}

/// Cargo makes the absolute path of a package outside of the project a part of what it builds.
#[test]
fn examples_lie_whole_inside_themselves() {
    let mut seen = 0;
    for folder in ["examples", "examples/hostile"] {
        for example in fs::read_dir(root().join(folder)).expect("the folder is there") {
            let manifest = example.expect("an example").path().join("Cargo.toml");
            let Ok(text) = fs::read_to_string(&manifest) else { continue };
            let table: toml::Table = text.parse().expect("TOML");
            let dependencies = table.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten();
            for path in dependencies.filter_map(|(_, on)| on.get("path")?.as_str()) {
                seen += 1;
                assert!(!path.starts_with('/') && !path.contains(".."), "{}: `{path}`", manifest.display());
            }
        }
    }
    assert!(seen > 5, "only {seen} were seen");
}
