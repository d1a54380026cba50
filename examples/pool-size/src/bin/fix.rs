#![no_main]
//! Sets `pool-size` and has the service reload.

use countersign_sdk::process::{self, Selector, Signal};
use countersign_sdk::{files, log};
use pool_size::{Arguments, pool_size};

countersign_sdk::fix!(|arguments: Arguments| {
    let mut config = files::read_text(&arguments.config)?;
    let place = pool_size(&config).ok_or("the configuration has no `pool-size`")?;
    let size = arguments.pool_size.to_string();
    if config[place.clone()] == size {
        return Err(format!("`pool-size` is {size} already").into());
    }

    log::info!("`pool-size`: {} becomes {size}", &config[place.clone()]);
    config.replace_range(place, &size);
    files::replace(&arguments.config, config)?;
    process::signal(&arguments.executable, &Selector::pid_file(arguments.pid_file), Signal::Hup)?;
    Ok(())
});
