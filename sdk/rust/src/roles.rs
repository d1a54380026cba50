use serde::de::{DeserializeOwned, IgnoredAny};

use crate::bindings::countersign::step::host::{self, Level};
use crate::{Failure, Finding, Verdict};

/// Exports an investigation: a step that looks at a target and reports what it found.
///
/// Takes a function or a closure from the step's arguments to `Result<Vec<Finding>, Failure>`; see
/// [`fix!`](crate::fix) for the forms. It may call read functions only.
///
/// ```no_run
/// use countersign_sdk::{Finding, files};
///
/// countersign_sdk::investigation!(|arguments: Arguments| {
///     let config = files::read_text(&arguments.config)?;
///     Ok(vec![Finding::new("the configuration", config)])
/// });
///
/// #[derive(serde::Deserialize)]
/// struct Arguments {
///     config: String,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! investigation {
    (|| $body:expr) => {
        $crate::investigation!(|_: $crate::NoArguments| $body);
    };
    ($step:expr) => {
        $crate::__step! {
            "countersign:step/investigation",
            fn investigate() -> ::std::vec::Vec<$crate::Finding> { $crate::look($step) }
            "countersign:step/types@0.1.0": ::countersign_sdk::bindings::countersign::step::types,
        }
    };
}

/// Exports a fix: a step that changes the target.
///
/// Takes a function or a closure from the step's arguments to `Result<(), Failure>`. The arguments
/// are any type that `serde` deserializes; `fix!(|| { … })` takes none. One step stands in one
/// binary, at the top level of a file that begins with `#![no_main]`.
///
/// ```no_run
/// use countersign_sdk::{Failure, files};
///
/// countersign_sdk::fix!(put_right);
///
/// #[derive(serde::Deserialize)]
/// struct Arguments {
///     config: String,
/// }
///
/// fn put_right(arguments: Arguments) -> Result<(), Failure> {
///     let config = files::read_text(&arguments.config)?;
///     files::replace(&arguments.config, config.replace("debug = true", "debug = false"))?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! fix {
    (|| $body:expr) => {
        $crate::fix!(|_: $crate::NoArguments| $body);
    };
    ($step:expr) => {
        $crate::__step! { "countersign:step/fix", fn fix() -> () { $crate::act($step) } }
    };
}

/// Exports a rollback: a step that does what undoing the fix's changes cannot, e.g. a reload.
///
/// Takes what [`fix!`](crate::fix) takes. It runs after the host has undone the fix's changes.
#[macro_export]
macro_rules! rollback {
    (|| $body:expr) => {
        $crate::rollback!(|_: $crate::NoArguments| $body);
    };
    ($step:expr) => {
        $crate::__step! { "countersign:step/rollback", fn rollback() -> () { $crate::act($step) } }
    };
}

/// Exports a check: a step that tells whether the target is healthy.
///
/// Takes a function or a closure from the step's arguments to `Result<Verdict, Failure>`; see
/// [`fix!`](crate::fix) for the forms. It may call read functions only, and never waits: the runner
/// asks it again. An [`Error`](crate::Error) of the kind `unknowable` that ends it becomes
/// [`Verdict::CannotTell`](crate::Verdict).
///
/// ```no_run
/// use countersign_sdk::{Verdict, http};
///
/// countersign_sdk::check!(|arguments: Arguments| {
///     let response = http::get(&format!("{}/healthz", arguments.origin))?;
///     Ok(match response.status {
///         200 => Verdict::Healthy,
///         status => Verdict::Unhealthy(format!("/healthz answers {status}: {}", response.text())),
///     })
/// });
///
/// #[derive(serde::Deserialize)]
/// struct Arguments {
///     origin: String,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! check {
    (|| $body:expr) => {
        $crate::check!(|_: $crate::NoArguments| $body);
    };
    ($step:expr) => {
        $crate::__step! {
            "countersign:step/check",
            fn check() -> $crate::Verdict { $crate::judge($step) }
            "countersign:step/types@0.1.0": ::countersign_sdk::bindings::countersign::step::types,
        }
    };
}

/// The bindings of one world and the one function that it exports.
#[doc(hidden)]
#[macro_export]
macro_rules! __step {
    ($world:literal, fn $export:ident() -> $value:ty { $body:expr } $($with:tt)*) => {
        #[doc(hidden)]
        #[allow(unsafe_code, clippy::all, reason = "generated")]
        mod __countersign {
            $crate::__bindings!($world $($with)*);
        }

        struct __Step;

        impl __countersign::Guest for __Step {
            fn $export() -> ::core::result::Result<$value, ::std::string::String> {
                $body
            }
        }

        #[allow(unsafe_code, clippy::all, reason = "generated")]
        const _: () = {
            __countersign::export!(__Step with_types_in __countersign);

            // So that a project can be built and its library tested on the host, where no step runs.
            #[cfg(not(target_family = "wasm"))]
            #[unsafe(no_mangle)]
            extern "C" fn main() -> i32 {
                $crate::on_the_host(cfg!(test))
            }
        };
    };
}

/// The arguments of a step that looks at none.
pub type NoArguments = IgnoredAny;

/// Runs a fix or a rollback.
///
/// # Errors
/// The step's own failure, or arguments that are not of its type.
pub fn act<A: DeserializeOwned>(step: impl FnOnce(A) -> Result<(), Failure>) -> Result<(), String> {
    step(arguments()?).map_err(Failure::into_message)
}

/// Runs an investigation.
///
/// # Errors
/// As for [`act`].
pub fn look<A: DeserializeOwned>(
    step: impl FnOnce(A) -> Result<Vec<Finding>, Failure>,
) -> Result<Vec<Finding>, String> {
    step(arguments()?).map_err(Failure::into_message)
}

/// Runs a check.
///
/// # Errors
/// As for [`act`], but for what is unknowable.
pub fn judge<A: DeserializeOwned>(step: impl FnOnce(A) -> Result<Verdict, Failure>) -> Result<Verdict, String> {
    step(arguments()?).or_else(Failure::into_verdict)
}

/// The exit code of a step that was started as a program of the host, or as its test.
#[expect(clippy::print_stderr, reason = "a program's last words, on the author's machine only")]
pub fn on_the_host(test: bool) -> i32 {
    if test {
        eprintln!("note: tests in a step's own file do not run: put what they test into the project's library");
        return 0;
    }
    eprintln!("error: a step runs inside the runner only\nhint: `countersign build` builds it");
    2
}

/// The step's arguments; sees to it that a panic is told before it ends the step.
fn arguments<A: DeserializeOwned>() -> Result<A, String> {
    std::panic::set_hook(Box::new(|panic| host::log(Level::Error, &panic.to_string())));
    parse(&host::arguments())
}

fn parse<A: DeserializeOwned>(json: &str) -> Result<A, String> {
    serde_json::from_str(json).map_err(|error| format!("the arguments are not what the step expects: {error}"))
}

impl Finding {
    /// The longest summary, in characters.
    pub const MAX_SUMMARY: usize = 200;
    /// The longest detail, in bytes.
    pub const MAX_DETAIL: usize = 16 * 1024;

    /// A finding, cut to what the contract allows: one line, and 16 KiB that support it.
    pub fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        let (summary, mut detail) = (summary.into(), detail.into());
        let line = summary.lines().next().unwrap_or_default();
        detail.truncate(detail.floor_char_boundary(Self::MAX_DETAIL));
        Self { summary: line.chars().take(Self::MAX_SUMMARY).collect(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_in_kebab_case_where_the_type_says_so() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Arguments {
            pid_file: String,
            pool_size: u32,
        }
        let parsed = parse(r#"{"pid-file": "/run/x.pid", "pool-size": 8, "not-for-this-step": true}"#);
        assert_eq!(parsed, Ok(Arguments { pid_file: "/run/x.pid".to_owned(), pool_size: 8 }));
        let error = parse::<Arguments>(r#"{"pid-file": "/run/x.pid"}"#).expect_err("an argument is missing");
        assert!(error.contains("pool-size"), "{error}");
    }

    #[test]
    fn a_step_without_arguments_takes_any() {
        assert!(parse::<NoArguments>(r#"{"a": [1, {"b": null}]}"#).is_ok());
    }

    #[test]
    fn a_finding_is_cut_to_what_the_contract_allows() {
        let finding = Finding::new(format!("{}\nnext", "é".repeat(300)), "€".repeat(6000));
        assert_eq!(finding.summary.chars().count(), Finding::MAX_SUMMARY);
        assert_eq!(finding.detail.len(), Finding::MAX_DETAIL - 1, "a character of three bytes is not cut in two");
    }
}
