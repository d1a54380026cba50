//! Text from people and guests who may lie, made safe to show.

use unicode_security::skeleton;

/// The text with everything that could move a terminal's cursor, change its colours, reorder what is
/// read or be taken for something else made visible as `\u{…}`: control characters, bidirectional and
/// invisible formatting characters, and characters that look like ASCII in a word that would be read as
/// ASCII, such as a Cyrillic `о` in `nginx.conf`. Line feeds and tabs are escaped too; see
/// [`visible_lines`] to keep lines.
#[must_use]
pub fn visible(text: &str) -> String {
    escaped(text, |_| false)
}

/// Like [`visible`], but line feeds and tabs stay.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t')
}

/// Like [`visible_lines`], for a content as it is: what only reads like an escape is escaped too, so that no two
/// contents are shown as one. Not for a text of which a part was made visible before.
#[must_use]
pub fn exact_lines(content: &str) -> String {
    content.split("\\u{").map(visible_lines).collect::<Vec<_>>().join("\\u{5c}u{")
}

/// Whether the text holds a character that cannot be seen, or that changes how others are seen. What only looks like
/// something else hides nothing: it is a name that somebody may have given.
#[must_use]
pub fn hides(text: &str) -> bool {
    text.chars().any(hidden)
}

/// The first `limit` characters, made [`visible`], with `…` where something was cut.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => visible(text),
        Some((end, _)) => {
            let mut out = visible(text.get(..end).unwrap_or_default());
            out.push('…');
            out
        }
    }
}

/// The text with every digest in it cut out: what stands for a content that nobody is shown is not shown either,
/// since a short content can be told from its digest by trying.
#[must_use]
pub fn without_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        out.push_str(before);
        out.push_str(PREFIX);
        rest = after.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
        if rest.len() < after.len() {
            out.push('…');
        }
    }
    out.push_str(rest);
    out
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (c, misleads) in marked(text) {
        if misleads && !stays(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Each character, and whether it must be shown as `\u{…}`.
pub(crate) fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    words(text).flat_map(|word| {
        let reads_as_ascii = !word.is_ascii() && reads_as_ascii(word);
        // A dash between spaces parts a sentence; in a name it would pass for a hyphen.
        let parts = move |c| c == '\u{2013}' && word.contains(' ');
        word.chars().map(move |c| (c, hidden(c) || (reads_as_ascii && imitates(c) && !parts(c))))
    })
}

/// The text in pieces: runs of letters and digits, and what is between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        let first = inside(rest.chars().next()?);
        let end = rest.find(|c| inside(c) != first).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// Whether a word that is not ASCII would be read as if it were: it has ASCII letters or digits beside what imitates
/// them, or nothing but imitations. A word in another script is what it looks like, though some of its letters also
/// look like ASCII's; so is the punctuation that people write.
fn reads_as_ascii(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_alphanumeric()) || word.chars().all(|c| c.is_ascii() || imitates(c))
}

/// Whether a character is not ASCII and looks like something that is, by Unicode's table of confusables (UTS 39).
fn imitates(c: char) -> bool {
    let mut buffer = [0; 4];
    // Typographic quotes and the ellipsis are in every other sentence, and nobody loses by them.
    !c.is_ascii()
        && !matches!(c, '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{2026}')
        && skeleton(c.encode_utf8(&mut buffer)).all(|c| c.is_ascii())
}

/// Characters that are not what they look like or do not look like anything: Unicode's `Cc`, the
/// bidirectional controls, the zero-width and tag characters, separators other than the space,
/// variation selectors, marks that sit on what is beside them, overlays, and private use.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{0334}'..='\u{0338}' | '\u{0600}'..='\u{0605}' | '\u{06dd}' | '\u{070f}' | '\u{0890}' | '\u{0891}' | '\u{08e2}'
            | '\u{20d2}' | '\u{20d3}' | '\u{20d8}'..='\u{20da}' | '\u{20dd}'..='\u{20e0}' | '\u{20e2}'..='\u{20e6}' | '\u{20ea}' | '\u{20eb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{00a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' | '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_hides() {
        assert_eq!(visible("a\u{1b}[31mb\u{202e}c\r\n"), "a\\u{1b}[31mb\\u{202e}c\\u{d}\\u{a}");
        assert_eq!(visible_lines("a\n\tb\r"), "a\n\tb\\u{d}");
        assert_eq!(visible("grün 漢字"), "grün 漢字");
        assert_eq!(visible("pass\u{338}ed \u{13430}"), "pass\\u{338}ed \\u{13430}");
    }

    #[test]
    fn no_two_contents_are_shown_as_one() {
        assert_eq!(exact_lines("\\u{430}\n\u{430}"), "\\u{5c}u{430}\n\\u{430}");
        assert_eq!(exact_lines(r"\.php$ and C:\users"), r"\.php$ and C:\users");
        assert_eq!(exact_lines("p\u{430}y"), "p\\u{430}y");
    }

    #[test]
    fn shows_what_looks_like_something_else() {
        // One letter of another script, a word of nothing but imitations, and other widths.
        assert_eq!(visible("/etc/nginx.c\u{43e}nf"), "/etc/nginx.c\\u{43e}nf");
        assert_eq!(visible("\u{440}\u{430}\u{443}"), "\\u{440}\\u{430}\\u{443}");
        assert_eq!(visible("\u{ff45}xit"), "\\u{ff45}xit");
        assert_eq!(visible("a\u{2215}b\u{2024}c"), "a\\u{2215}b\\u{2024}c");
        assert_eq!(visible_lines("p\u{430}y\n"), "p\\u{430}y\n");
    }

    #[test]
    fn leaves_what_people_write() {
        for text in [
            "naïve Übung, déjà vu",
            "привет, мир",
            "Ελληνικά",
            "CPU使用率が高い",
            "don’t “guess” — or – look…",
            "日本語のファイル_1",
            "5 µs",
        ] {
            assert_eq!(visible(text), text);
        }
        assert!(!hides("c\u{43e}nf") && hides("c\u{200b}nf"));
    }

    #[test]
    fn cuts_digests_out() {
        let digest = crate::Digest::of(b"x").to_string();
        let text = format!("content is {digest}, not {digest}; see sha256: or sha256");
        assert_eq!(without_digests(&text), "content is sha256:…, not sha256:…; see sha256: or sha256");
    }

    #[test]
    fn cuts_by_characters() {
        assert_eq!(excerpt("äöü", 2), "äö…");
        assert_eq!(excerpt("äöü", 3), "äöü");
    }
}
