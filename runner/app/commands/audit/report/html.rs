//! The report as one page, with nothing from elsewhere and no script.

use std::fmt::Write as _;

use countersign_model::text::excerpt;
use serde_json::Value;

use super::collect::Section;

/// The longest text in a cell, in bytes.
const MAX_CELL: usize = 600;

pub(super) fn page(report: &Value, sections: &[Section]) -> String {
    let of = |key: &str| cell(report.get(key).unwrap_or(&Value::Null));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Countersign: audit report</title>\n\
         <style>body{{font:15px/1.4 sans-serif;margin:2em}}table{{border-collapse:collapse;margin:.5em 0 2em}}\
         td,th{{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top}}pre{{font-size:12px}}</style>\n\
         <h1>Audit report</h1>\n<p>From {} to {}, of a log of {} entries. Its key: <code>{}</code></p>\n",
        of("since"),
        of("until"),
        of("entries"),
        of("key")
    );
    page.push_str("<table>");
    for (name, value) in report.get("counts").and_then(Value::as_object).into_iter().flatten() {
        let _ = write!(page, "<tr><th>{}</th><td>{}</td></tr>", escaped(&name.replace('_', " ")), cell(value));
    }
    page.push_str("</table>\n");
    for section in sections {
        let _ = writeln!(page, "<h2>{}</h2>", escaped(section.title));
        let lines = report.get(section.key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if lines.is_empty() {
            page.push_str("<p>None.</p>\n");
        }
        for line in lines {
            page.push_str("<table>");
            for (name, value) in line.as_object().into_iter().flatten() {
                let shown = match (name.as_str(), value) {
                    ("receipt", Value::String(receipt)) => {
                        format!("<details><summary>prove it</summary><pre>{}</pre></details>", escaped(receipt))
                    }
                    _ => cell(value),
                };
                let _ = write!(page, "<tr><th>{}</th><td>{shown}</td></tr>", escaped(&name.replace('_', " ")));
            }
            page.push_str("</table>\n");
        }
    }
    page.push_str("</html>\n");
    page
}

/// A value as it stands in a cell: people's and agents' words are cut, and hide nothing.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(&excerpt(text, MAX_CELL)),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join("<br>"),
        Value::Object(fields) => fields.values().map(cell).collect::<Vec<_>>().join(": "),
        other => escaped(&other.to_string()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_words_are_markup() {
        assert_eq!(cell(&"<b>\u{202e}&'\"".into()), "&lt;b&gt;\\u{202e}&amp;&#39;&quot;");
    }
}
