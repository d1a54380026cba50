use countersign_pipeline::Target;

use super::markdown::blocks;
use super::{pages, root};

/// A block that names a file stands there as it is; a line `// …` stands for any lines.
#[test]
fn excerpts_are_what_the_files_say() {
    let mut seen = 0;
    for page in pages() {
        for block in blocks(&page.text) {
            let Some((_, file)) = block.language.split_once(' ') else { continue };
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("`{file}`: {error}"));
            let excerpt = block.lines.join("\n");
            let mut rest = text.as_str();
            for part in excerpt.split("// …\n") {
                let (_, after) = rest.split_once(part.trim_end()).unwrap_or_else(|| {
                    panic!("{}:{}: this is not in `{file}`:\n{part}", page.path.display(), block.line)
                });
                rest = after;
            }
            seen += 1;
        }
    }
    assert!(seen > 3, "only {seen} excerpts were found");
}

/// The files that the pages show can be used as they stand.
#[test]
fn files_that_are_shown_can_be_read() {
    let toml = |path: &str| {
        let page = pages().into_iter().find(|page| page.path.as_os_str() == path);
        let page = page.unwrap_or_else(|| panic!("there is no `{path}`"));
        let blocks = blocks(&page.text).into_iter().filter(|block| block.language == "toml");
        blocks.map(|block| block.lines.join("\n")).collect::<Vec<_>>()
    };
    let [config, policy] = toml("docs/configuration.md").try_into().expect("a configuration and a policy");
    let config: crate::config::Config = toml::from_str(&config).expect("the configuration");
    config.targets.into_values().for_each(usable);
    countersign_trust::Policy::parse(policy.as_bytes()).expect("the policy");
    for manifest in toml("docs/remediation.md") {
        countersign_bundle::Manifest::parse(manifest.as_bytes()).expect("the manifest");
    }
    let [target] = toml("README.md").try_into().expect("a target");
    let mut target: toml::Table = target.parse().expect("it is TOML");
    usable(
        target
            .remove("targets")
            .and_then(|mut targets| targets["web"].as_table_mut().cloned())
            .expect("a target")
            .try_into()
            .expect("it is one"),
    );
}

fn usable(mut target: Target) {
    target
        .validate(&crate::environment::registry(), &countersign_capability::Protected::default())
        .expect("it is a target");
}
