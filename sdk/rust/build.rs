//! Writes the macro that makes a role's bindings inside the step's own crate.
//!
//! They cannot be made once in the library: a world's description is linked in whole wherever the
//! library is, and a fix would import the types that only an investigation or a check uses. In the
//! step's crate `generate!` looks for a relative path below that crate, so this one is absolute.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_default());
    let wit = variable("CARGO_MANIFEST_DIR").join("../wit/step");
    let text = format!(
        r#"
#[doc(hidden)]
#[macro_export]
macro_rules! __bindings {{
    ($world:literal $($with:tt)*) => {{
        $crate::wit_bindgen::generate!({{
            path: {wit:?},
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
    let path = variable("OUT_DIR").join("bindings.rs");
    if let Err(error) = std::fs::write(&path, text) {
        println!("cargo::error=`{}` was not written: {error}", path.display());
    }
}
