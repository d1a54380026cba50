//! A bound on nesting, before the TOML parser runs.
//!
//! `toml` bounds brackets and dotted keys each at 80 levels but not their product: two kilobytes of
//! dotted keys inside inline tables nest 800 tables and overflow a thread's stack, which aborts.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// The most levels that one statement may open, brackets and dots of keys together. A statement
/// stands under a table header, which is itself one, so a value is never deeper than twice this.
const MAX_LEVELS: usize = 32;

/// Where in the text, in bytes, the nesting becomes too deep or a closing bracket has no partner.
pub(crate) fn excess(text: &str) -> Option<usize> {
    // The brackets that are open, each with the levels it and the dots after it add.
    let mut open = vec![(TokenKind::Newline, 0_usize)];
    let mut levels = 0_usize;
    for token in Source::new(text).lex() {
        let (last, added) = open.last_mut()?;
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                open.push((token.kind(), 1));
                levels += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                let partner = match token.kind() {
                    TokenKind::RightSquareBracket => TokenKind::LeftSquareBracket,
                    _ => TokenKind::LeftCurlyBracket,
                };
                if *last != partner {
                    return Some(token.span().start());
                }
                levels -= *added;
                open.pop();
            }
            TokenKind::Dot => {
                *added += 1;
                levels += 1;
            }
            // The next element of an array or inline table begins at the bracket's level again.
            TokenKind::Comma if *last != TokenKind::Newline => {
                levels -= *added - 1;
                *added = 1;
            }
            TokenKind::Newline if *last == TokenKind::Newline => {
                levels = 0;
                *added = 0;
            }
            _ => {}
        }
        if levels > MAX_LEVELS {
            return Some(token.span().start());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_brackets_and_dots_together() {
        assert_eq!(excess("a = [[1, 2], [{ b.c = 1.5 }]]\n[x.y.\"z.z\"]\nd = \"[[[[....\" # [[[\n"), None);
        assert_eq!(excess(&format!("a = {}1{}\n", "[".repeat(32), "]".repeat(32))), None);
        assert_eq!(excess(&format!("a = {}1{}\n", "[".repeat(33), "]".repeat(33))), Some(36));
        assert!(excess(&format!("{} = 1\n", ["a"; 40].join("."))).is_some());
        assert!(excess(&format!("[{}]\n", ["a"; 40].join("."))).is_some());
        // Each alone is allowed, the product is not.
        let keys = ["a"; 10].join(".");
        assert!(excess(&format!("{keys} = {{ {keys} = {{ {keys} = {{ {keys} = 1 }} }} }}\n")).is_some());
        // Siblings do not add up.
        assert_eq!(excess(&format!("a = [{}]\n", ["{ b.c.d = [1.5] }"; 100].join(", "))), None);
        assert_eq!(excess(&"a.b.c = 1\n".repeat(100)), None);
    }

    #[test]
    fn refuses_brackets_without_partner() {
        assert_eq!(excess("a = ]"), Some(4));
        assert_eq!(excess("a = [}"), Some(5));
    }
}
