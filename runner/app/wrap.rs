//! Lines that are longer than the terminal is wide. A terminal would go on at its left edge, and what a file or an agent
//! has there would stand where the lines of a review begin.

use std::io::IsTerminal;

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthChar;

/// Begins what goes on.
const MARK: &str = "↪ ";
/// A terminal that is not as wide shows its lines as it likes.
const LEAST: usize = 24;

/// The text as the terminal on stdout shows it; as it is where stdout is none.
pub(crate) fn for_terminal(text: String) -> String {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return text;
    }
    match terminal_size_of(&stdout) {
        Some((Width(width), _)) => wrapped(&text, usize::from(width)),
        None => text,
    }
}

/// A line that does not fit goes on below itself, as far in as it begins, and marked.
fn wrapped(text: &str, width: usize) -> String {
    if width < LEAST {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let indent = line.chars().take_while(|c| *c == ' ').count().min(width / 2);
        let mut column = 0;
        for c in line.chars() {
            let wide = if c == '\t' { 8 - column % 8 } else { c.width().unwrap_or(0) };
            if column + wide > width {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(MARK);
                column = indent + 2;
            }
            out.push(c);
            column += wide;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_long_line_stands_at_the_edge() {
        let line = format!("    + {}IRREVERSIBLE\n  nothing", "x".repeat(18));
        assert_eq!(wrapped(&line, 24), format!("    + {}\n    ↪ IRREVERSIBLE\n  nothing", "x".repeat(18)));
        // Two columns each.
        let wide = "漢".repeat(13);
        assert_eq!(wrapped(&wide, 24), format!("{}\n↪ 漢", "漢".repeat(12)));
        assert_eq!(
            wrapped(&format!("{}\tb", "a".repeat(20)), 24),
            format!("{}\tb", "a".repeat(20)).replace("\tb", "\t\n↪ b")
        );
    }

    #[test]
    fn what_fits_stays() {
        let text = format!("{}\n\n{}\n", "a".repeat(24), "b".repeat(3));
        assert_eq!(wrapped(&text, 24), text);
        assert_eq!(wrapped(&"a".repeat(99), 10), "a".repeat(99));
    }
}
