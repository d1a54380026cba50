use countersign_capability::InertState;
use wasmtime::component::Resource;

use super::Inert;
use super::bindings::wasi::clocks::wall_clock::Datetime;
use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::io::poll;

/// Timers that a step may hold at once.
const MAX_TIMERS: usize = 1_000;

/// The moment of the step's monotonic clock from which on a pollable is ready. Streams are ready from 0 on.
#[expect(unreachable_pub, reason = "the generated bindings name it again")]
pub struct Timer(u64);

impl Inert<'_> {
    pub(super) fn timer(&mut self, at: u64) -> wasmtime::Result<Resource<Timer>> {
        let timers = &mut self.own()?.timers;
        timers.set_max_capacity(MAX_TIMERS);
        timers
            .push(Timer(at))
            .map_err(|_| wasmtime::Error::msg(format!("the step holds more than {MAX_TIMERS} timers at once")))
    }

    /// Waits, which takes no time: the clock is then where the wait would have ended.
    fn wait(&mut self, until: u64) -> wasmtime::Result<()> {
        let own = self.own()?;
        own.waited = own.waited.max(until);
        Ok(())
    }
}

fn moment(own: &InertState, timer: &Resource<Timer>) -> wasmtime::Result<u64> {
    Ok(own.timers.get(timer)?.0)
}

impl wall_clock::Host for Inert<'_> {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        let now = self.0.context.now;
        let nanoseconds = u32::try_from(now % 1000).unwrap_or_default() * 1_000_000;
        Ok(Datetime { seconds: now / 1000, nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl monotonic_clock::Host for Inert<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.own()?.waited)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<Timer>> {
        self.timer(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<Timer>> {
        let now = self.own()?.waited;
        self.timer(now.saturating_add(duration))
    }
}

impl poll::Host for Inert<'_> {
    fn poll(&mut self, timers: Vec<Resource<Timer>>) -> wasmtime::Result<Vec<u32>> {
        let own = self.own()?;
        let moments = timers.iter().map(|timer| moment(own, timer)).collect::<wasmtime::Result<Vec<_>>>()?;
        let Some(first) = moments.iter().min() else {
            return Err(wasmtime::Error::msg("the step waits for nothing, which would never end"));
        };
        self.wait(*first)?;
        let now = self.own()?.waited;
        Ok((0_u32..).zip(moments).filter(|(_, moment)| *moment <= now).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for Inert<'_> {
    fn ready(&mut self, timer: Resource<Timer>) -> wasmtime::Result<bool> {
        let own = self.own()?;
        Ok(moment(own, &timer)? <= own.waited)
    }

    fn block(&mut self, timer: Resource<Timer>) -> wasmtime::Result<()> {
        let until = moment(self.own()?, &timer)?;
        self.wait(until)
    }

    fn drop(&mut self, timer: Resource<Timer>) -> wasmtime::Result<()> {
        self.own()?.timers.delete(timer)?;
        Ok(())
    }
}
