//! What is told on stderr while something runs.

use std::io::IsTerminal;

use countersign_capability::LogLine;
use countersign_model::Role;
use countersign_model::text::visible;
use countersign_pipeline::Progress;

/// Tells each step of the story as it happens.
pub(crate) struct Narrator;

impl Progress for Narrator {
    fn note(&self, line: &str) {
        crate::output::complain(line);
    }

    fn waits(&self, line: &str) {
        if std::io::stderr().is_terminal() {
            crate::output::complain(line);
        }
    }

    fn log(&self, role: Option<Role>, line: &LogLine) {
        let role = role.map_or("read", Role::name);
        crate::output::complain(format_args!("  {role} says ({}): {}", line.level, visible(&line.message)));
    }
}

/// The runner's own log goes to stderr, quiet unless `RUST_LOG` asks for more.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .try_init();
}
