//! The same through the language's own library.

use std::collections::HashMap;
use std::fs;
use std::io::{IsTerminal, Read};
use std::time::{Duration, Instant, SystemTime};

pub fn call(name: &str) -> Option<String> {
    Some(match name {
        "std arguments" => format!("{:?}", std::env::args_os().collect::<Vec<_>>()),
        "std environment" => format!("{:?} {:?}", std::env::vars_os().collect::<Vec<_>>(), std::env::var("PATH")),
        "std directory" => format!("{:?}", std::env::current_dir()),
        "std files" => {
            let kind = |result: std::io::Result<()>| format!("{:?}", result.map_err(|error| error.kind()));
            [
                kind(fs::read("/etc/passwd").map(drop)),
                kind(fs::read("passwd").map(drop)),
                kind(fs::read("../../etc/passwd").map(drop)),
                kind(fs::read_dir("/").map(drop)),
                kind(fs::read_dir(".").map(drop)),
                kind(fs::metadata("/").map(drop)),
                kind(fs::symlink_metadata("/proc/self").map(drop)),
                kind(fs::read_link("/proc/self/exe").map(drop)),
                kind(fs::write("/tmp/x", "x")),
                kind(fs::create_dir("/tmp/x")),
                kind(fs::remove_file("/tmp/x")),
                kind(fs::remove_dir("/tmp")),
                kind(fs::rename("/tmp/x", "/tmp/y")),
                kind(fs::hard_link("/tmp/x", "/tmp/y")),
                kind(fs::copy("/etc/passwd", "/tmp/y").map(drop)),
            ]
            .join(" ")
        }
        "std time" => {
            let (wall, clock) = (SystemTime::now(), Instant::now());
            std::thread::sleep(Duration::from_secs(3600));
            let wall = (wall.duration_since(SystemTime::UNIX_EPOCH).ok(), wall.elapsed().ok());
            format!("{wall:?} {:?}", clock.elapsed())
        }
        "std input" => {
            let mut read = Vec::new();
            format!("{:?} {read:?}", std::io::stdin().read_to_end(&mut read).ok())
        }
        "std terminal" => format!(
            "{:?}",
            (std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal())
        ),
        "std hash order" => {
            let map: HashMap<u32, ()> = (0..20).map(|key| (key, ())).collect();
            format!("{:?}", map.keys().collect::<Vec<_>>())
        }
        "std print" => {
            println!("to the output");
            eprintln!("to the errors: \u{1b}[31mred");
            print!("without an end");
            use std::io::Write;
            format!("{:?}", std::io::stdout().flush())
        }
        "std panic" => panic!("it went wrong"),
        "std exit" => std::process::exit(3),
        "std abort" => std::process::abort(),
        _ => return None,
    })
}
