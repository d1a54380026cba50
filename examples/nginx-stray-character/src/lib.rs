//! What the steps of this remediation share.

/// The arguments, as `remediation.toml` describes them.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arguments {
    pub config: String,
    pub error_log: String,
    pub executable: String,
    pub line: usize,
    pub origin: String,
    pub pid_file: String,
    pub stray: String,
}

/// The text of a line, counted from 1, and where it stands.
pub fn line(config: &str, number: usize) -> Option<(&str, usize)> {
    let mut start = 0;
    for (count, line) in (1..).zip(config.split_inclusive('\n')) {
        if count == number {
            return Some((line.trim_end_matches(['\r', '\n']), start));
        }
        start += line.len();
    }
    None
}

/// The configuration without what is stray at the end of a line, and every other byte as it was.
///
/// # Errors
/// When the line does not end with it: then this is another incident, or it is over.
pub fn without(config: &str, number: usize, stray: &str) -> Result<String, String> {
    let (line, start) = line(config, number).ok_or_else(|| format!("there is no line {number}"))?;
    let rest = line.strip_suffix(stray).filter(|_| !stray.is_empty());
    let rest = rest.ok_or_else(|| format!("line {number} does not end with `{stray}`: `{line}`"))?;
    Ok(format!("{}{}", &config[..start + rest.len()], &config[start + line.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "server {\r\n  root /srv;x\r\n}\n}";

    #[test]
    fn takes_out_what_is_stray_and_nothing_else() {
        assert_eq!(without(CONFIG, 2, "x").as_deref(), Ok("server {\r\n  root /srv;\r\n}\n}"));
        assert_eq!(without(CONFIG, 4, "}").as_deref(), Ok("server {\r\n  root /srv;x\r\n}\n"));
    }

    #[test]
    fn refuses_a_line_that_is_not_as_expected() {
        assert!(without(CONFIG, 2, "y").is_err_and(|why| why.contains("root /srv;x")));
        for (number, stray) in [(0, "x"), (5, "x"), (2, "")] {
            assert!(without(CONFIG, number, stray).is_err(), "{number} {stray}");
        }
    }
}
