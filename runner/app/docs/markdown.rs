//! As much of Markdown as the pages use.

/// A block of code.
pub(super) struct Block {
    /// What stands behind the fence; empty for an indented block.
    pub(super) language: String,
    /// The number of its first line of code, from 1.
    pub(super) line: usize,
    pub(super) lines: Vec<String>,
}

/// The page's fenced and indented blocks.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fenced = false;
    // Whether the line before can be followed by an indented block, or belongs to one.
    let mut may_indent = true;
    for (at, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = !fenced;
            may_indent = true;
            if fenced {
                blocks.push(Block { language: language.trim().to_owned(), line: at + 2, lines: Vec::new() });
            }
        } else if fenced {
            blocks.last_mut().expect("a fence is open").lines.push(line.to_owned());
        } else if let Some(code) = line.strip_prefix("    ").filter(|_| may_indent) {
            match blocks.last_mut() {
                Some(block) if block.language.is_empty() && block.line + block.lines.len() == at + 1 => {
                    block.lines.push(code.to_owned());
                }
                _ => blocks.push(Block { language: String::new(), line: at + 1, lines: vec![code.to_owned()] }),
            }
        } else {
            may_indent = line.trim().is_empty();
        }
    }
    assert!(!fenced, "a fence is not closed");
    blocks
}

/// The targets of the page's links and images outside code, each with its line.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        // What stands between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = prose.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let (target, after) = after.split_once(')').expect("a link's bracket is closed");
            links.push((at + 1, target.to_owned()));
            rest = after;
        }
    }
    links
}

/// A heading's name in a link, as code hosts make it.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The names of the page's headings.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            anchors.push(anchor(heading.trim_start_matches('#').trim()));
        }
    }
    anchors
}

/// The cells of every row in the tables with these column heads, backticks around a whole cell left out.
pub(super) fn rows(text: &str, heads: &[&str]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<_> =
            cells.replace("\\|", "\u{1}").split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
        if cells == heads {
            inside = true;
        } else if inside && !cells.iter().all(|cell| cell.chars().all(|c| c == '-')) {
            rows.push(cells.into_iter().map(plain).collect());
        }
    }
    rows
}

fn plain(cell: String) -> String {
    let code = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).filter(|code| !code.contains('`'));
    code.map_or_else(|| cell.clone(), str::to_owned)
}
