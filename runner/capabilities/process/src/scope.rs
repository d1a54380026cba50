use std::collections::BTreeSet;
use std::path::Path;

use countersign_capability::Protected;
use countersign_model::text::visible;
use countersign_model::{Access, Selector};

use crate::call::{Call, Named, Signal, Which};
use crate::path;

/// What a grant may name: one executable, in text `exe=PATH [pid-file=PATH] [signals=A,B]`.
///
/// With `pid-file` only the process that this file names is open; `signals` stands in grants for
/// writing, and only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    executable: String,
    pid_file: Option<String>,
    /// Empty in a grant for reading.
    signals: BTreeSet<Signal>,
}

impl Scope {
    pub(crate) fn parse(access: Access, selector: &Selector) -> Result<Self, String> {
        let expected = match access {
            Access::Read => "`exe=PATH`, and `pid-file=PATH` at most",
            Access::Write => "`exe=PATH` and `signals=A,B`, and `pid-file=PATH` at most",
        };
        let known = |key: &&String| match key.as_str() {
            "exe" | "pid-file" => true,
            "signals" => access == Access::Write,
            _ => false,
        };
        if let Some(key) = selector.named.keys().find(|key| !known(key)) {
            return Err(format!("`{key}` is not known here: expected {expected}"));
        }
        if let Some(word) = selector.words.first() {
            return Err(format!("`{}` is not known here: expected {expected}", visible(word)));
        }
        let Some(executable) = selector.named.get("exe").cloned() else {
            return Err(format!("expected {expected}"));
        };
        path::check("exe", &executable)?;
        let pid_file = selector.named.get("pid-file").cloned();
        if let Some(pid_file) = &pid_file {
            path::check("pid-file", pid_file)?;
        }
        let mut signals = BTreeSet::new();
        if access == Access::Write {
            let text = selector.named.get("signals").ok_or_else(|| format!("expected {expected}"))?;
            for name in text.split(',') {
                if !signals.insert(name.parse()?) {
                    return Err(format!("`{name}` stands twice in `signals`"));
                }
            }
        }
        Ok(Self { executable, pid_file, signals })
    }

    pub(crate) fn selector(&self) -> Selector {
        let mut selector = Selector::default().with("exe", self.executable.clone());
        if let Some(pid_file) = &self.pid_file {
            selector = selector.with("pid-file", pid_file.clone());
        }
        if !self.signals.is_empty() {
            let names: Vec<_> = self.signals.iter().map(|signal| signal.name()).collect();
            selector = selector.with("signals", names.join(","));
        }
        selector
    }

    /// The scope of this call alone; its arguments are checked.
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            executable: call.executable().to_owned(),
            pid_file: match call.process().map(|process| &process.which) {
                Some(Which::PidFile(path)) => Some(path.clone()),
                Some(Which::Started(_)) | None => None,
            },
            signals: match call {
                Call::Signal { signal, .. } => BTreeSet::from([*signal]),
                Call::List { .. } | Call::Inspect(_) => BTreeSet::new(),
            },
        }
    }

    pub(crate) fn covers(&self, call: &Call) -> bool {
        call.check().is_ok() && self.contains(&Self::of(call))
    }

    /// Whether the process is one that it names, whatever is done with it.
    pub(crate) fn names(&self, process: &Named) -> bool {
        let by_file = match (&self.pid_file, &process.which) {
            (None, _) => true,
            (Some(pid_file), Which::PidFile(path)) => pid_file == path,
            (Some(_), Which::Started(_)) => false,
        };
        self.executable == process.executable && by_file
    }

    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        self.executable == narrow.executable
            && (self.pid_file.is_none() || self.pid_file == narrow.pid_file)
            && self.signals.is_superset(&narrow.signals)
    }

    pub(crate) fn endangers(&self, protected: &Protected) -> Option<String> {
        let owned = |path: &str| protected.paths.iter().any(|own| Path::new(path).starts_with(own));
        if !self.signals.is_empty() && owned(&self.executable) {
            return Some(format!("signals to the runner itself, `{}`", self.executable));
        }
        let pid_file = self.pid_file.as_ref().filter(|path| owned(path))?;
        Some(format!("the runner's own file `{pid_file}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_scope(text: &str) -> Result<Scope, String> {
        let (_, access, selector) = Selector::parse_named(text).expect(text);
        Scope::parse(if access == "read" { Access::Read } else { Access::Write }, &selector)
    }

    fn scope(text: &str) -> Scope {
        try_scope(text).expect(text)
    }

    #[test]
    fn prints_what_parses_to_the_same() {
        for (text, printed) in [
            ("process.read exe=/usr/sbin/nginx", " exe=/usr/sbin/nginx"),
            ("process.read pid-file=/run/n.pid exe=/n", " exe=/n pid-file=/run/n.pid"),
            ("process.write exe=/n signals=USR1,HUP", " exe=/n signals=HUP,USR1"),
            ("process.write exe=\"/a b\" signals=WINCH,TERM,KILL", " exe=\"/a b\" signals=KILL,TERM,WINCH"),
        ] {
            let parsed = scope(text);
            assert_eq!(parsed.selector().to_string(), printed);
            let access = text.split(' ').next().expect("a name");
            assert_eq!(scope(&format!("{access}{printed}")), parsed);
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        for (text, why) in [
            ("process.read", "expected `exe=PATH`"),
            ("process.read /n", "`/n` is not known"),
            ("process.read exe=/n signals=HUP", "`signals` is not known"),
            ("process.read exe=/n started=1", "`started` is not known"),
            ("process.read exe=/n pid=1", "`pid` is not known"),
            ("process.write exe=/n", "`signals=A,B`"),
            ("process.write exe=/n signals=", "not a signal"),
            ("process.write exe=/n signals=SIGHUP", "not a signal"),
            ("process.write exe=/n signals=hup", "not a signal"),
            ("process.write exe=/n signals=9", "not a signal"),
            ("process.write exe=/n signals=STOP", "not a signal"),
            ("process.write exe=/n signals=HUP,", "not a signal"),
            ("process.write exe=/n signals=HUP,HUP", "twice"),
            ("process.read exe=nginx", "absolute"),
            ("process.read exe=\"\"", "absolute"),
            ("process.read exe=/usr/*", "`*`"),
            ("process.read exe=/usr//n", "must be written"),
            ("process.read exe=/usr/../n", "must be written"),
            ("process.read exe=/n/", "must be written"),
            ("process.read exe=/", "must be written"),
            ("process.read exe=/proc/1/exe", "/proc or /sys"),
            ("process.read exe=/n pid-file=/proc/1/x", "/proc or /sys"),
            ("process.read exe=\"/n (deleted)\"", "deleted"),
            ("process.read exe=\"/n\\u{0}\"", "invisible"),
            ("process.read exe=/n pid-file=run", "absolute"),
        ] {
            let error = try_scope(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(try_scope(&format!("process.read exe=/{}", "n".repeat(4095))).is_err());
    }

    fn call(text: &str) -> Call {
        let (_, function, mut selector) = Selector::parse_named(text).expect(text);
        match selector.named.remove("signal") {
            Some(signal) => Call::Signal {
                process: Named::parse(&selector).expect(text),
                signal: signal.parse().expect("a signal"),
            },
            None => Call::parse(&function, &selector).expect(text),
        }
    }

    #[test]
    fn covers_what_it_says_and_the_least_scope_does_too() {
        for (granted, asked, expected) in [
            ("process.read exe=/n", "process.list exe=/n", true),
            ("process.read exe=/n", "process.inspect exe=/n started=5", true),
            ("process.read exe=/n", "process.inspect exe=/n pid-file=/p", true),
            ("process.read exe=/n", "process.list exe=/m", false),
            ("process.read exe=/n pid-file=/p", "process.inspect exe=/n pid-file=/p", true),
            ("process.read exe=/n pid-file=/p", "process.inspect exe=/n pid-file=/q", false),
            ("process.read exe=/n pid-file=/p", "process.inspect exe=/n started=5", false),
            ("process.read exe=/n pid-file=/p", "process.list exe=/n", false),
            ("process.write exe=/n signals=HUP,USR1", "process.signal exe=/n started=5 signal=HUP", true),
            ("process.write exe=/n signals=HUP,USR1", "process.signal exe=/n pid-file=/p signal=USR1", true),
            ("process.write exe=/n signals=HUP", "process.signal exe=/n started=5 signal=KILL", false),
            ("process.write exe=/m signals=HUP", "process.signal exe=/n started=5 signal=HUP", false),
            ("process.write exe=/n pid-file=/p signals=HUP", "process.signal exe=/n started=5 signal=HUP", false),
            ("process.write exe=/n pid-file=/p signals=HUP", "process.signal exe=/n pid-file=/p signal=HUP", true),
        ] {
            let asked = call(asked);
            assert_eq!(scope(granted).covers(&asked), expected, "{granted} {asked:?}");
            let least = Scope::of(&asked);
            assert!(least.covers(&asked));
            assert_eq!(scope(granted).contains(&least), expected);
            if let Some(process) = asked.process() {
                assert!(least.names(process));
            }
        }
        let odd = Call::List { executable: "/usr/../n".to_owned() };
        assert!(!Scope::of(&odd).covers(&odd));
    }

    #[test]
    fn contains_only_what_is_as_narrow() {
        for (wide, narrow, expected) in [
            ("process.read exe=/n", "process.read exe=/n pid-file=/p", true),
            ("process.read exe=/n pid-file=/p", "process.read exe=/n", false),
            ("process.write exe=/n signals=HUP,TERM", "process.write exe=/n signals=TERM", true),
            ("process.write exe=/n signals=TERM", "process.write exe=/n signals=HUP,TERM", false),
            ("process.write exe=/n signals=TERM", "process.write exe=/m signals=TERM", false),
        ] {
            assert_eq!(scope(wide).contains(&scope(narrow)), expected, "{wide} / {narrow}");
        }
    }

    #[test]
    fn the_runner_is_not_for_grants() {
        let protected =
            Protected { paths: vec!["/usr/bin/countersign".into(), "/var/lib/cs".into()], processes: vec![] };
        for (text, expected) in [
            ("process.write exe=/usr/bin/countersign signals=HUP", true),
            ("process.read exe=/usr/bin/countersign", false),
            ("process.write exe=/usr/bin/countersign2 signals=HUP", false),
            ("process.write exe=/n signals=HUP", false),
            ("process.write exe=/n pid-file=/var/lib/cs/x.pid signals=HUP", true),
            ("process.read exe=/n pid-file=/var/lib/cs/x.pid", true),
        ] {
            assert_eq!(scope(text).endangers(&protected).is_some(), expected, "{text}");
        }
    }
}
