//! Grants with `{argument}` placeholders.
//!
//! The grant is parsed first and the arguments are put into its words afterwards, so an argument
//! cannot end a word, begin another or add a limit. What it may do inside a word is bounded too: a
//! value that could make the grant wider than its text reads is refused.

use std::collections::BTreeMap;

use countersign_model::text::{excerpt, hides};
use countersign_model::{Access, Grant, Selector};
use serde_json::{Map, Value};

use crate::arguments::{Arguments, ArgumentsError, Scalar};

/// A grant as `remediation.toml` asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The grant as written, placeholders included.
    written: Grant,
    words: Vec<Vec<Part>>,
    named: BTreeMap<String, Vec<Part>>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Argument { name: String, kind: Scalar },
}

impl Template {
    /// # Errors
    /// A sentence fragment that says what is wrong with the text.
    pub(crate) fn parse(text: &str, arguments: &Arguments) -> Result<Self, String> {
        let written: Grant = text.parse().map_err(|error| format!("{error}"))?;
        let words = written.scope.words.iter().map(|word| split(word, arguments)).collect::<Result<_, _>>()?;
        let named = (written.scope.named.iter())
            .map(|(key, value)| Ok((key.clone(), split(value, arguments)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { written, words, named })
    }

    pub(crate) fn written(&self) -> &Grant {
        &self.written
    }

    pub(crate) fn name(&self) -> (String, Access) {
        (self.written.capability.clone(), self.written.access)
    }

    /// The grant with the arguments filled in.
    pub(crate) fn fill(&self, arguments: &Map<String, Value>) -> Result<Grant, ArgumentsError> {
        let refused = |name: &str, why: String| ArgumentsError::Grant {
            name: name.to_owned(),
            grant: excerpt(&self.written.to_string(), 200),
            why,
        };
        let fill = |word: &[Part]| -> Result<String, ArgumentsError> {
            let mut filled = String::new();
            for (position, part) in word.iter().enumerate() {
                match part {
                    Part::Text(text) => filled.push_str(text),
                    Part::Argument { name, kind } => {
                        let value = arguments.get(name).ok_or_else(|| refused(name, "it is not given".to_owned()))?;
                        let value = kind.print(value).ok_or_else(|| refused(name, format!("it is not {kind}")))?;
                        let place = Place { inside: position > 0, followed: position + 1 < word.len() };
                        place.admits(&value).map_err(|why| refused(name, why))?;
                        filled.push_str(&value);
                    }
                }
            }
            Ok(filled)
        };
        let words = self.words.iter().map(|word| fill(word)).collect::<Result<_, _>>()?;
        let named = (self.named.iter())
            .map(|(key, word)| Ok((key.clone(), fill(word)?)))
            .collect::<Result<_, ArgumentsError>>()?;
        let grant = Grant { scope: Selector { words, named }, ..self.written.clone() };
        // What is signed is the text: it must mean this grant and no other.
        if grant.to_string().parse().as_ref() != Ok(&grant) {
            return Err(ArgumentsError::LongGrant { grant: excerpt(&self.written.to_string(), 200) });
        }
        Ok(grant)
    }
}

/// The text of one word and the arguments in it.
fn split(word: &str, arguments: &Arguments) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(brace) = rest.find(['{', '}']) {
        let (text, after) = rest.split_at(brace);
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let placeholder = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((name, after)) = placeholder.filter(|(name, _)| !name.contains('{')) else {
            return Err(format!("`{}` has a brace without its partner", excerpt(word, 80)));
        };
        let kind = arguments.scalar(name).map_err(|why| format!("`{{{}}}` {why}", excerpt(name, 80)))?;
        parts.push(Part::Argument { name: name.to_owned(), kind });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Where in a word an argument stands.
struct Place {
    /// Something of the word comes before it.
    inside: bool,
    /// Something of the word comes after it.
    followed: bool,
}

impl Place {
    /// Whether a value here leaves the grant as narrow as its text reads. The capabilities know
    /// what their scopes mean; this refuses what could widen any of them.
    fn admits(&self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err("it is empty".to_owned());
        }
        if hides(value) || value.chars().any(|c| c.is_whitespace() && c != ' ') {
            return Err("it holds a control or invisible character".to_owned());
        }
        let holds = |characters: &[char]| value.chars().find(|c| characters.contains(c));
        // A pattern, and a list as in `signals=HUP,TERM`.
        if let Some(c) = holds(&['*', ',']) {
            return Err(format!("it holds `{c}`, with which a grant names more than one thing"));
        }
        if value.split(['/', '\\']).any(|segment| segment == "..") {
            return Err("it holds `..`".to_owned());
        }
        // In `/srv/{name}` or `http://{host}/healthz` the text around it says where it stays.
        if self.inside
            && let Some(c) = holds(&['/', '\\', '?', '#', '@', '%'])
        {
            return Err(format!("it holds `{c}`, which leads out of the word that it is part of"));
        }
        if self.followed
            && let Some(c) = holds(&['?', '#'])
        {
            return Err(format!("it holds `{c}`, which changes what the text after it means"));
        }
        Ok(())
    }
}
