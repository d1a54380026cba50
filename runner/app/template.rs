//! What `countersign new` makes: the template, the SDK and the contract, which the binary carries with it.

use std::collections::BTreeSet;

use countersign_model::Access;

/// One file of a project.
pub(crate) struct File {
    /// Relative to the project.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) contents: String,
}

macro_rules! sdk {
    ($($path:literal),* $(,)?) => { &[$((concat!("sdk/", $path), include_str!(concat!("../../sdk/", $path)))),*] };
}

/// The guest library and the contract, as they stand in the repository.
const SDK: &[(&str, &str)] = sdk![
    "rust/Cargo.toml",
    "rust/README.md",
    "rust/build.rs",
    "rust/src/bindings.rs",
    "rust/src/error.rs",
    "rust/src/files.rs",
    "rust/src/http.rs",
    "rust/src/lib.rs",
    "rust/src/log.rs",
    "rust/src/process.rs",
    "rust/src/roles.rs",
    "wit/step/step.wit",
    "wit/files/files.wit",
    "wit/http/http.wit",
    "wit/process/process.wit",
];

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../sdk/template/", $path))
    };
}

const UNDO: &str = "\
# Every change here can be undone exactly, so the host's own undo is the whole rollback. A fix that also
# sends a signal needs `rollback = \"step\"`, `src/bin/rollback.rs` and `[steps.rollback]`.
rollback = \"undo\"";

const STEP: &str = "\
# The host undoes the exact changes; then the rollback step does what only it can.
rollback = \"step\"";

/// The project's files for the capabilities that its steps shall use.
pub(crate) fn project(name: &str, capabilities: &BTreeSet<(String, Access)>) -> Vec<File> {
    let wanted = |capability: &str, access| capabilities.contains(&(capability.to_owned(), access));
    let signal = wanted("process", Access::Write);
    let list = wanted("process", Access::Read);
    let http = wanted("http", Access::Read);

    let mut files: Vec<File> =
        SDK.iter().map(|(path, contents)| File { path, contents: (*contents).to_owned() }).collect();
    let mut add = |path, contents: &str| files.push(File { path, contents: contents.replace("{{name}}", name) });
    add("Cargo.toml", template!("Cargo.toml"));
    add(".gitignore", template!("gitignore"));
    add("README.md", &readme(signal, list, http));
    add("remediation.toml", &manifest(signal, list, http));
    add(
        "src/bin/investigation.rs",
        if list { template!("parts/investigation_process.rs") } else { template!("src/bin/investigation.rs") },
    );
    add("src/bin/fix.rs", if signal { template!("parts/fix_signal.rs") } else { template!("src/bin/fix.rs") });
    add("src/bin/check.rs", if http { template!("parts/check_http.rs") } else { template!("src/bin/check.rs") });
    if signal {
        add("src/bin/rollback.rs", template!("parts/rollback_signal.rs"));
    }
    files
}

fn readme(signal: bool, list: bool, http: bool) -> String {
    let mut arguments = String::from(" --arg path=/etc/app.conf --arg wrong=… --arg right=…");
    let mut argument = |wanted: bool, example: &str| {
        if wanted {
            arguments.push_str(" \\\n      --arg ");
            arguments.push_str(example);
        }
    };
    argument(signal || list, "executable=/usr/sbin/app");
    argument(signal, "pid-file=/run/app.pid");
    argument(http, "url=http://127.0.0.1:8080/healthz");
    let (steps, rollback) = if signal {
        (
            "an investigation, a fix, a rollback step and a check",
            "| `src/bin/rollback.rs` | does after the host's undo what only a step can: signals again |\n",
        )
    } else {
        ("an investigation, a fix and a check", "")
    };
    template!("README.md")
        .replace("{{steps}}", steps)
        .replace("{{rollback}}", rollback)
        .replace("{{arguments}}", &arguments)
}

fn manifest(signal: bool, list: bool, http: bool) -> String {
    let mut required = vec!["path", "wrong", "right"];
    let mut arguments = String::new();
    let mut argument = |name: &'static str, description: &str| {
        required.push(name);
        arguments.push_str(&format!(
            "\n[arguments.properties.{name}]\ntype = \"string\"\ndescription = \"{description}\"\n"
        ));
    };
    if signal || list {
        argument("executable", "absolute path of the executable that reads the file");
    }
    if signal {
        argument("pid-file", "absolute path of the file that holds its process identifier");
    }
    if http {
        argument("url", "what must answer with 200");
    }
    let mut steps = String::new();
    let mut step = |role: &str, grants: &[&str]| {
        let grants: Vec<_> = grants.iter().map(|grant| format!("    \"{grant}\",\n")).collect();
        steps.push_str(&format!("[steps.{role}]\ngrants = [\n{}]\n\n", grants.concat()));
    };
    let hup = "process.write exe={executable} pid-file={pid-file} signals=HUP";
    let mut investigation = vec!["files.read {path}"];
    if list {
        investigation.push("process.read exe={executable}");
    }
    step("investigation", &investigation);
    let mut fix = vec!["files.read {path}", "files.write {path} max-calls=1"];
    if signal {
        fix.push(hup);
    }
    step("fix", &fix);
    if signal {
        step("rollback", &[hup]);
    }
    step("check", &[if http { "http.read {url}" } else { "files.read {path}" }]);

    let required: Vec<_> = required.iter().map(|name| format!("\"{name}\"")).collect();
    template!("remediation.toml")
        .replace("{{rollback}}", if signal { STEP } else { UNDO })
        .replace("{{required}}", &required.join(", "))
        .replace("{{arguments}}", &arguments)
        .replace("{{steps}}", steps.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the README tells to type names every argument that the manifest requires.
    #[test]
    fn the_readme_gives_every_argument() {
        for signal in [false, true] {
            for list in [false, true] {
                for http in [false, true] {
                    let (readme, manifest) = (readme(signal, list, http), manifest(signal, list, http));
                    let required = manifest.lines().find_map(|line| line.strip_prefix("required = ["));
                    let required = required.expect("it requires some").trim_end_matches(']').split(", ");
                    let required: Vec<_> = required.map(|name| name.trim_matches('"')).collect();
                    for name in &required {
                        assert!(readme.contains(&format!("--arg {name}=")), "{name}: {readme}");
                    }
                    assert_eq!(readme.matches("--arg ").count(), required.len(), "{readme}");
                    assert_eq!(readme.contains("rollback.rs"), signal);
                    assert!(!readme.replace("{{name}}", "").contains("{{"), "{readme}");
                }
            }
        }
    }

    /// A file that is added to the SDK or the contract must be added to the list above.
    #[test]
    fn carries_the_whole_sdk() {
        let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk");
        let mut missing = Vec::new();
        for folder in ["rust", "rust/src", "wit/step", "wit/files", "wit/http", "wit/process"] {
            for file in std::fs::read_dir(sdk.join(folder)).expect("the folder is there") {
                let file = file.expect("it can be read").path();
                let path = format!("sdk/{}", file.strip_prefix(&sdk).expect("it is inside").display());
                if file.is_file() && !SDK.iter().any(|(known, _)| *known == path) {
                    missing.push(path);
                }
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
