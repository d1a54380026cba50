//! What the service is doing, shared between its connections and its signals.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// How long the connections that are left may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

pub struct Service {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The configuration that runs, or why there is none.
    config: Result<Config, String>,
    /// How many configurations have been accepted.
    generation: u64,
    /// Orders being taken.
    busy: usize,
    connections: usize,
    /// Orders taken in all.
    taken: u64,
}

/// What `/healthz` tells.
pub struct Health {
    /// Whether it is up: it runs a configuration, even one that lets no order through.
    pub up: bool,
    /// Why orders are not taken, if they are not.
    pub reason: Option<String>,
    pub generation: u64,
    pub pool_size: Option<usize>,
    /// Why the last reload was rejected, if it was.
    pub reload_error: Option<String>,
}

impl Service {
    pub fn new(config: Config) -> Self {
        let state = State { config: Ok(config), generation: 1, busy: 0, connections: 0, taken: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Runs another configuration; gives its generation.
    pub fn accept(&self, config: Config) -> u64 {
        let mut state = self.lock();
        state.config = Ok(config);
        state.generation += 1;
        self.changed.notify_all();
        state.generation
    }

    /// Takes no orders until a good configuration is there.
    pub fn reject(&self, why: String) {
        self.lock().config = Err(why);
        self.changed.notify_all();
    }

    pub fn health(&self) -> Health {
        let state = self.lock();
        let config = state.config.as_ref();
        Health {
            up: config.is_ok(),
            reason: state.capacity().err(),
            generation: state.generation,
            pool_size: config.ok().map(|config| config.pool_size),
            reload_error: config.err().cloned(),
        }
    }

    /// Takes one order as soon as there is a worker for it; gives its number.
    pub fn order(&self) -> Result<u64, String> {
        let mut state = self.lock();
        let timeout = state.config.as_ref().map_or(Duration::ZERO, |config| config.timeout);
        if state.capacity().is_ok_and(|capacity| state.busy >= capacity) {
            let full = |state: &mut State| state.capacity().is_ok_and(|capacity| state.busy >= capacity);
            let waited = self.changed.wait_timeout_while(state, timeout, full);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.busy >= state.capacity()? {
            return Err(format!("no worker was free within {} ms", timeout.as_millis()));
        }
        state.busy += 1;
        state.taken += 1;
        Ok(state.taken)
    }

    /// An order is done.
    pub fn done(&self) {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Whether there is room for one connection more; [`Service::disconnect`] gives it back.
    pub fn connect(&self) -> bool {
        let mut state = self.lock();
        let room = state.connections < MAX_CONNECTIONS;
        state.connections += usize::from(room);
        room
    }

    pub fn disconnect(&self) {
        self.lock().connections -= 1;
        self.changed.notify_all();
    }

    /// Waits for the connections that are left, for a while.
    pub fn drain(&self) {
        let _ = self.changed.wait_timeout_while(self.lock(), DRAIN, |state| state.connections > 0);
    }

    /// Every critical section leaves the state whole, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many orders can be taken at a time, or why none can.
    fn capacity(&self) -> Result<usize, String> {
        match &self.config {
            Ok(Config { pool_size: 0, .. }) => Err("the pool has no worker".to_owned()),
            Ok(config) => Ok(config.pool_size),
            Err(why) => Err(format!("configuration rejected: {why}")),
        }
    }
}
