#![no_main]
//! Wrong, though it reads well: the service rejects so large a pool and stops.

use countersign_sdk::process::{self, Selector, Signal};
use countersign_sdk::{files, log};
use pool_size_twin::{Arguments, pool_size};

/// Room to spare, so that this incident does not come back.
const GENEROUS: u32 = 500;

countersign_sdk::fix!(|arguments: Arguments| {
    let mut config = files::read_text(&arguments.config)?;
    let place = pool_size(&config).ok_or("the configuration has no `pool-size`")?;
    let size = arguments.pool_size.max(GENEROUS).to_string();

    log::info!("`pool-size`: {} becomes {size}, to be safe", &config[place.clone()]);
    config.replace_range(place, &size);
    files::replace(&arguments.config, config)?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
