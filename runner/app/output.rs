//! What a command leaves behind: its result on stdout, everything else on stderr, and an exit code.

use std::fmt::Display;
use std::io::{IsTerminal, Read, Write};

use countersign_model::text::{hides, visible, visible_lines};
use countersign_pipeline::PipelineError;
use serde_json::{Value, json};

use crate::wrap::for_terminal;

/// The most that is printed as it is on a terminal, in bytes.
const MAX_SHOWN: u64 = 1024 * 1024;

/// A command's result, in both forms.
pub(crate) struct Done {
    /// For people; ends without a line feed.
    pub(crate) text: String,
    /// For programs: one object.
    pub(crate) json: Value,
    /// The exit code.
    pub(crate) code: u8,
    /// Whether something was done that stays done when the result cannot be printed.
    acted: bool,
    /// What is printed instead of the text, as it is.
    bytes: Option<Box<dyn Read>>,
}

impl Done {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, code: 0, acted: false, bytes: None }
    }

    /// A content that is printed as it is: anything to a file or a program, and to a terminal only what is plain text.
    pub(crate) fn bytes(bytes: impl Read + 'static) -> Self {
        Self { bytes: Some(Box::new(bytes)), ..Self::new("", Value::Null) }
    }

    pub(crate) const fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says that something was done, so that the exit code tells what it was even if nothing can be printed.
    pub(crate) const fn acted(mut self) -> Self {
        self.acted = true;
        self
    }
}

/// What a command returns. Errors that are not the pipeline's are failures before anything changed.
pub(crate) type CommandResult = anyhow::Result<Done>;

/// Prints the result or the error, and gives the exit code.
pub(crate) fn finish(json: bool, result: CommandResult) -> u8 {
    match result {
        Ok(Done { bytes: Some(bytes), .. }) if !json => match copy(bytes) {
            Ok(()) => 0,
            Err(error) => finish(json, Err(error)),
        },
        Ok(done) => {
            let text = if json { printable_json(&done.json) } else { for_terminal(visible_lines(&done.text)) };
            if let Err(error) = print(&text) {
                // Whoever closed the pipe, such as `head`, has what they wanted.
                if error.kind() == std::io::ErrorKind::BrokenPipe {
                    return done.code;
                }
                complain(format_args!("error: the result could not be printed: {error}"));
                if !done.acted && done.code == 0 {
                    return 1;
                }
                complain("what the command did stays done, and its exit code says what it was");
            }
            done.code
        }
        Err(error) => {
            let code = error.downcast_ref::<PipelineError>().map_or(1, PipelineError::exit_code);
            let hint = hint(&error);
            complain(format_args!("error: {error}"));
            let causes = causes(&error);
            for cause in &causes {
                complain(format_args!("caused by: {cause}"));
            }
            if let Some(PipelineError::PersonNeeded { changes, .. }) = error.downcast_ref() {
                for change in changes {
                    let (summary, reversibility) = (&change.change.summary, change.change.reversibility.name());
                    complain(format_args!("  {}: {} ({reversibility})", change.state, visible(summary)));
                    if let Some(file) = &change.kept_file {
                        complain(format_args!("    kept file: {}", visible(file)));
                    }
                    if let Some(place) = &change.kept_at {
                        let from = change.change.kept.map(|kept| format!(" (cut off from byte {} on)", kept.from));
                        complain(format_args!("    kept at: {}{}", visible(place), from.unwrap_or_default()));
                    }
                }
            }
            if let Some(hint) = &hint {
                complain(format_args!("hint: {hint}"));
            }
            if json {
                let mut object =
                    json!({ "error": { "message": error.to_string(), "causes": causes, "hint": hint, "code": code } });
                if let (Some(fields), Some(PipelineError::PersonNeeded { run, changes, .. })) =
                    (object.as_object_mut(), error.downcast_ref())
                {
                    let run = run.as_deref();
                    fields.insert("run".to_owned(), json!(run.map(|run| &run.run)));
                    fields.insert("target".to_owned(), json!(run.map(|run| &run.target)));
                    fields.insert("rollback_owner".to_owned(), json!(run.map(|run| &run.rollback_owner)));
                    fields.insert("changes".to_owned(), json!(changes));
                }
                let _ = print(&printable_json(&object));
            }
            code
        }
    }
}

/// What caused it, without what the error says itself already.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.ends_with(&cause) {
            causes.push(cause.clone());
            said = cause;
        }
    }
    causes
}

fn hint(error: &anyhow::Error) -> Option<String> {
    let own = || error.downcast_ref::<Hinted>().map(|hinted| hinted.hint.clone());
    let pipeline = error.downcast_ref::<PipelineError>().and_then(PipelineError::hint);
    pipeline.map(str::to_owned).or_else(own).or_else(|| crate::hints::of(error))
}

/// A refusal that is a command's result too: said on stderr like every error.
pub(crate) fn explain(error: &PipelineError) {
    complain(format_args!("error: {error}"));
    if let Some(hint) = error.hint() {
        complain(format_args!("hint: {hint}"));
    }
}

/// What was looked at once something had been done, which stays done: that it could not be is worth a note, and no error.
pub(crate) fn noted<T: Default, E: Display>(notes: &mut Vec<String>, what: &str, looked: Result<T, E>) -> T {
    looked.unwrap_or_else(|error| {
        notes.push(format!("{what}: {error}"));
        T::default()
    })
}

/// What is worth knowing beside a result.
pub(crate) fn note(what: &str) {
    complain(format_args!("note: {what}"));
}

/// What was typed cannot be understood: clap's own lines, with a hint in the place of its last one, and an object for a
/// program.
pub(crate) fn usage_error(json: bool, rendered: &str) {
    let usage = rendered.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("countersign");
    let words: Vec<&str> =
        usage.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    let hint = format!("see `{} --help`", words.join(" "));
    let mut lines: Vec<&str> = rendered.lines().filter(|line| !line.starts_with("For more")).collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    complain(lines.join("\n"));
    // The whole help is shown where nothing was asked for.
    if rendered.starts_with("error:") {
        complain(format_args!("hint: {hint}"));
    }
    if json {
        let error = error_object(&usage_message(rendered), Some(&hint), 2);
        let _ = print(&printable_json(&json!({ "error": error })));
    }
}

/// Clap's lines as one, without the usage that follows them.
fn usage_message(rendered: &str) -> String {
    let lines = rendered.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    countersign_model::text::excerpt(words.strip_prefix("error: ").unwrap_or(&words), 500)
}

/// The `error` of a result's JSON.
pub(crate) fn error_json(error: &PipelineError) -> Value {
    error_object(&error.to_string(), error.hint(), error.exit_code())
}

/// An `error` as every command's JSON has it.
pub(crate) fn error_object(message: &str, hint: Option<&str>, code: u8) -> Value {
    let none: [&str; 0] = [];
    json!({ "message": message, "causes": none, "hint": hint, "code": code })
}

/// An error of the command itself, with what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Hinted {
    what: String,
    hint: String,
}

/// An error before anything changed, with what to do next.
pub(crate) fn hinted(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Hinted { what: what.into(), hint: hint.into() })
}

/// The same, where another error is the cause.
pub(crate) fn hinted_by(
    cause: impl std::error::Error + Send + Sync + 'static,
    what: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    anyhow::Error::new(cause).context(Hinted { what: what.into(), hint: hint.into() })
}

/// The object as it may be printed on a terminal: what would move its cursor, or is not seen, only stands in strings,
/// where an escape is the same to a program.
fn printable_json(object: &Value) -> String {
    let mut printable = String::new();
    let mut units = [0; 2];
    for c in object.to_string().chars() {
        if hides(c.encode_utf8(&mut [0; 4])) {
            printable.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Copies a content to stdout as it is.
fn copy(mut bytes: impl Read) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if !stdout.is_terminal() {
        let copied = std::io::copy(&mut bytes, &mut stdout).and_then(|_| stdout.flush());
        return match copied {
            // Whoever closed the pipe, such as `head`, has what they wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            copied => {
                copied.map_err(|error| hinted(format!("it could not be printed whole: {error}"), "print it to a file"))
            }
        };
    }
    let mut shown = Vec::new();
    let unread = |error: std::io::Error| hinted(format!("it cannot be read: {error}"), "print it to a file");
    bytes.take(MAX_SHOWN + 1).read_to_end(&mut shown).map_err(unread)?;
    match std::str::from_utf8(&shown) {
        Ok(text) if shown.len() as u64 <= MAX_SHOWN && visible_lines(text) == text => {
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(unread)
        }
        _ => Err(hinted(
            format!("it is no plain text of at most {MAX_SHOWN} bytes, so a terminal does not show it as it is"),
            "print it to a file, or to a program: `… >FILE`",
        )),
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// One line on stderr; a closed stderr is no reason to fail, but rolls a run back that is under way.
pub(crate) fn complain(line: impl Display) {
    let written = writeln!(std::io::stderr().lock(), "{}", visible_lines(&line.to_string()));
    // A pipe that nobody reads, and a terminal that is gone.
    let gone = [rustix::io::Errno::PIPE, rustix::io::Errno::IO].map(rustix::io::Errno::raw_os_error);
    if written.is_err_and(|error| error.raw_os_error().is_some_and(|errno| gone.contains(&errno))) {
        crate::signals::unread();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_stays_done_though_nobody_can_look_at_it() {
        let mut notes = Vec::new();
        let error = || anyhow::anyhow!("it is gone");
        assert_eq!(noted(&mut notes, "the runs", Ok::<_, anyhow::Error>(vec![1])), [1]);
        assert_eq!(noted(&mut notes, "the runs", Err::<Vec<u8>, _>(error())), Vec::<u8>::new());
        assert_eq!(notes, ["the runs: it is gone"]);
    }

    #[test]
    fn a_program_reads_what_a_terminal_is_spared() {
        let object = json!({ "a\u{9b}": "x\u{1b}[2J\u{202e}\u{7f}\u{e0001}grün" });
        let printed = printable_json(&object);
        assert!(!hides(&printed), "{printed}");
        assert_eq!(serde_json::from_str::<Value>(&printed).expect("it is JSON"), object);
    }
}
