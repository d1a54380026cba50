//! What a step does that wants to hold its host up, or fill it.

use std::time::{Duration, Instant};

use crate::bindings::wasi::cli::{stderr, stdout};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::io::poll;
use crate::bindings::wasi::random::random;

pub fn call(name: &str) -> Option<String> {
    Some(match name {
        "sleep for ever" => {
            monotonic_clock::subscribe_duration(u64::MAX).block();
            monotonic_clock::subscribe_duration(u64::MAX).block();
            format!("{}", monotonic_clock::now())
        }
        "sleep by steps" => {
            let begun = Instant::now();
            let mut steps = 0;
            while begun.elapsed() < Duration::from_secs(3600) {
                std::thread::sleep(Duration::from_secs(1));
                steps += 1;
            }
            format!("{steps}")
        }
        "spin" => {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3600) {}
            String::new()
        }
        "wait for nothing" => format!("{:?}", poll::poll(&[])),
        "wait for a million" => {
            let timer = monotonic_clock::subscribe_duration(1);
            format!("{}", poll::poll(&vec![&timer; 1_000_000]).len())
        }
        "random by the gib" => {
            let mut drawn = 0;
            loop {
                drawn += random::get_random_bytes(1 << 20).len();
                println!("{drawn}");
            }
        }
        "random at once" => format!("{}", random::get_random_bytes(u64::MAX).len()),
        "huge errors" => {
            let line = "e".repeat(4000);
            for _ in 0..10_000 {
                eprintln!("{line}");
            }
            "done".to_owned()
        }
        "one huge line" => {
            let part = [b'l'; 4096];
            for _ in 0..10_000 {
                let _ = stderr::get_stderr().blocking_write_and_flush(&part);
            }
            "done".to_owned()
        }
        "write too much" => format!("{:?}", stdout::get_stdout().write(&vec![b'w'; (64 << 10) + 1])),
        "write far too much" => format!("{:?}", stdout::get_stdout().write(&vec![b'w'; 16 << 20])),
        "write and flush too much" => {
            format!("{:?}", stdout::get_stdout().blocking_write_and_flush(&[b'w'; 4097]))
        }
        "zeroes without end" => format!("{:?}", stdout::get_stdout().write_zeroes(u64::MAX)),
        "thousands of timers" => {
            let timers: Vec<_> = (0..5000).map(|_| monotonic_clock::subscribe_duration(1)).collect();
            format!("{}", timers.len())
        }
        "thousands of streams" => {
            let streams: Vec<_> = (0..5000).map(|_| stdout::get_stdout()).collect();
            format!("{}", streams.len())
        }
        "thousands of timers, one by one" => {
            for _ in 0..100_000 {
                monotonic_clock::subscribe_duration(1).block();
            }
            format!("{}", monotonic_clock::now())
        }
        _ => return None,
    })
}
