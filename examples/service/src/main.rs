//! `orders`: takes orders over HTTP, as many at a time as its configuration allows.
//!
//! HUP reloads the configuration. One that is rejected stops the service until a good one is there.

mod config;
mod connection;
mod files;
mod service;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::files::Published;
use crate::service::Service;

const USAGE: &str = "usage: orders --config FILE --pid-file FILE [--address-file FILE]";

struct Options {
    config: PathBuf,
    pid_file: PathBuf,
    address_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = std::ffi::OsString>) -> Result<Options, String> {
    let (mut config, mut pid_file, mut address_file) = (None, None, None);
    while let Some(word) = words.next() {
        let place = match word.to_str() {
            Some("--config") => &mut config,
            Some("--pid-file") => &mut pid_file,
            Some("--address-file") => &mut address_file,
            _ => return Err(format!("`{}` is not an option", word.display())),
        };
        let value = words.next().ok_or_else(|| format!("`{}` needs a file", word.display()))?;
        *place = Some(PathBuf::from(value));
    }
    Ok(Options {
        config: config.ok_or("`--config` is missing")?,
        pid_file: pid_file.ok_or("`--pid-file` is missing")?,
        address_file,
    })
}

fn run(options: &Options) -> Result<(), String> {
    // Before anybody can know the process: a HUP that nothing handles would end it.
    let mut signals =
        Signals::new([SIGHUP, SIGTERM, SIGINT]).map_err(|error| format!("signals cannot be handled: {error}"))?;
    let config = Config::load(&options.config)?;
    let listen = config.listen;
    let listener = TcpListener::bind(listen).map_err(|error| format!("`{listen}` cannot be listened on: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("the address is unknown: {error}"))?;
    let service = Arc::new(Service::new(config));

    let _pid = Published::new(&options.pid_file, &format!("{}\n", std::process::id()))?;
    let _address =
        options.address_file.as_deref().map(|path| Published::new(path, &format!("{address}\n"))).transpose()?;
    let acceptor = Arc::clone(&service);
    std::thread::spawn(move || connection::accept(&listener, &acceptor));
    eprintln!("orders: listening on {address}, generation 1");

    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        match Config::load(&options.config) {
            Ok(config) => {
                if config.listen != listen {
                    eprintln!("orders: a new address takes effect at the next start");
                }
                eprintln!("orders: reloaded, generation {}", service.accept(config));
            }
            Err(why) => {
                eprintln!("orders: configuration rejected: {why}");
                service.reject(why);
            }
        }
    }
    eprintln!("orders: ending");
    service.drain();
    Ok(())
}
