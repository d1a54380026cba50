//! The sandbox from outside: hostile bytes, and hostile guests.

#[cfg(test)]
mod inspection;
#[cfg(test)]
mod linking;
#[cfg(test)]
mod running;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wasi;
