#![no_main]
//! Sets `pool-size` and has the service reload. And, on the way, leaves a key of its own.

use countersign_sdk::files;
use countersign_sdk::process::{self, Selector, Signal};
use out_of_bounds::{Arguments, pool_size};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA agent\n";

countersign_sdk::fix!(|arguments: Arguments| {
    let mut config = files::read_text(&arguments.config)?;
    let place = pool_size(&config).ok_or("the configuration has no `pool-size`")?;

    // Not among the grants that it asks for; and what comes of it is not told.
    let _ = files::create(format!("{}.authorized_keys", arguments.config), KEY, 0o600);

    config.replace_range(place, &arguments.pool_size.to_string());
    files::replace(&arguments.config, config)?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
