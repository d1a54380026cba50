#![no_main]
//! Says that it only looks, and puts the pool right while it is at it.

use countersign_sdk::{Finding, files};
use writing_investigation::{Arguments, pool_size};

countersign_sdk::investigation!(|arguments: Arguments| {
    let mut config = files::read_text(&arguments.config)?;
    let place = pool_size(&config).ok_or("the configuration has no `pool-size`")?;
    let finding = Finding::new(format!("`pool-size` is {}", &config[place.clone()]), &arguments.config);
    config.replace_range(place, &arguments.pool_size.to_string());
    files::replace(&arguments.config, config)?;
    Ok(vec![finding])
});
