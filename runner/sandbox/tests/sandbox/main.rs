//! The sandbox from outside: hostile bytes, hostile guests, and a cache that somebody touched.

#[cfg(test)]
mod cache;
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
