use countersign_capability::LogLine;
use countersign_model::Role;

/// Who is told what happens, as it happens.
pub trait Progress: Send + Sync {
    /// Told of one thing that happened. Text from guests in it may hold anything: show it escaped.
    fn note(&self, line: &str);

    /// Told, from time to time, that something is waited for still: worth a line to who looks at it, and to nobody else.
    fn waits(&self, _line: &str) {}

    /// Told of a line that a step logged; untrusted text.
    fn log(&self, role: Option<Role>, line: &LogLine);
}
