//! What a component imports and exports, for the configuration that describes it to other tools.
//!
//! Nothing is decided on these names: the sandbox inspects the component itself.

use wasmparser::{Encoding, Parser, Payload};

/// The top-level names of a component, in its own order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// `None` for what is not a component, or not a whole one.
pub(crate) fn names(bytes: &[u8]) -> Option<Names> {
    let mut names = Names { imports: Vec::new(), exports: Vec::new() };
    // Modules and components nest in components; only the outermost is described.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding != Encoding::Component {
                    return None;
                }
                depth += 1;
            }
            Payload::End(_) => depth = depth.checked_sub(1)?,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.imports.push(import.ok()?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.exports.push(export.ok()?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    (depth == 0).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_outermost_imports_and_exports() {
        let component = wat::parse_str(
            r#"(component
                (import "countersign:step/host@0.1.0" (instance))
                (component (import "inner" (instance)))
                (core module (import "core" "f" (func)))
                (import "a" (func $a))
                (export "fix" (func $a)))"#,
        )
        .expect("a component");
        let names = names(&component).expect("names");
        assert_eq!(names.imports, ["countersign:step/host@0.1.0", "a"]);
        assert_eq!(names.exports, ["fix"]);
    }

    #[test]
    fn only_components_have_names() {
        assert_eq!(names(b""), None);
        assert_eq!(names(b"\0asm"), None);
        assert_eq!(names(&wat::parse_str("(module)").expect("a module")), None);
        let mut component = wat::parse_str(r#"(component (import "a" (func)))"#).expect("a component");
        component.pop();
        assert_eq!(names(&component), None);
    }
}
