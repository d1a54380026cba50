//! Writes the macro that makes a role's bindings inside the step's own crate.
//!
//! They cannot be made once in the library: a world's description is linked in whole wherever the
//! library is, and a fix would import the types that only an investigation or a check uses. The
//! contract's text stands in the macro itself, and not its path: projects may share a target directory.

use std::path::Path;

const CONTRACT: &str = "../wit/step/step.wit";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CONTRACT}");
    let wit = match std::fs::read_to_string(CONTRACT) {
        Ok(wit) => wit,
        Err(error) => {
            println!("cargo::error=the contract `{CONTRACT}` cannot be read: {error}");
            return;
        }
    };
    let text = format!(
        r#"
#[doc(hidden)]
#[macro_export]
macro_rules! __bindings {{
    ($world:literal $($with:tt)*) => {{
        $crate::wit_bindgen::generate!({{
            inline: {wit:?},
            world: $world,
            runtime_path: "::countersign_sdk::wit_bindgen::rt",
            with: {{
                "countersign:step/host@0.1.0": ::countersign_sdk::bindings::countersign::step::host,
                $($with)*
            }},
        }});
    }};
}}
"#
    );
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    let path = Path::new(&out).join("bindings.rs");
    if let Err(error) = std::fs::write(&path, text) {
        println!("cargo::error=`{}` was not written: {error}", path.display());
    }
}
