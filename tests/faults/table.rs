//! The table in `docs/reliability.md`, which the tests write when every point is tried.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use crate::support::root;

/// Where rows of the table begin.
const HEAD: &str = "| fault | points | never began, or refused | rolled back | committed | in doubt or incomplete, named | anything else |\n|---|---|---|---|---|---|---|\n";

static WRITING: Mutex<()> = Mutex::new(());

/// How many points of a fault ended how. Put into the table where every point was tried, and said in any case.
pub(crate) fn row(fault: &str, ends: &BTreeMap<String, u32>) {
    let of = |names: &[&str]| names.iter().filter_map(|name| ends.get(*name)).sum::<u32>();
    let known = ["none", "refused", "rolled-back", "committed", "in-doubt", "rollback-incomplete"];
    let points: u32 = ends.values().sum();
    let row = format!(
        "| {fault} | {points} | {} | {} | {} | {} | {} |\n",
        of(&["none", "refused"]),
        of(&["rolled-back"]),
        of(&["committed"]),
        of(&["in-doubt", "rollback-incomplete"]),
        points - of(&known)
    );
    println!("{row}");
    if !crate::all() {
        return;
    }
    let _writing = WRITING.lock().expect("nobody panicked");
    let path = root().join("docs/reliability.md");
    let page = fs::read_to_string(&path).expect("the page is there");
    let (before, rows) = page.split_once(HEAD).expect("it has the table");
    let end = rows.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    let (rows, after) = rows.split_at(end);
    let mut rows: Vec<&str> =
        rows.split_inclusive('\n').filter(|known| !known.starts_with(&format!("| {fault} |"))).collect();
    rows.push(&row);
    rows.sort_unstable();
    fs::write(&path, format!("{before}{HEAD}{}{after}", rows.concat())).expect("it can be written");
}
