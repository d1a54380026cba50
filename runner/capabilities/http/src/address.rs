//! Which addresses a connection may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use countersign_model::text::excerpt;

/// What sort of address it is; the greater one decides where an address holds another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Public or private: fine for an origin that the operator pinned.
    Plain,
    /// This host itself. A name that resolves to it may be somebody's rebinding.
    Loopback,
    /// Never a service that a grant means by accident: this is what it is instead.
    Blocked(&'static str),
}

/// An address or a block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(head: [u16; 3], tail: [u16; 2], prefix: u32) -> Network {
    let [a, b, c] = head;
    let [g, h] = tail;
    Network { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, g, h)), prefix }
}

const LINK_LOCAL: Class = Class::Blocked("a link-local address");
const METADATA: Class = Class::Blocked("a cloud's metadata address");
const UNSPECIFIED: Class = Class::Blocked("an address of no host");
const MULTICAST: Class = Class::Blocked("a multicast address");

/// Whatever is not plain.
const SPECIAL: [(Network, Class); 17] = [
    (v4(127, 0, 0, 0, 8), Class::Loopback),
    (v4(0, 0, 0, 0, 8), UNSPECIFIED),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(100, 100, 100, 200, 32), METADATA),
    (v4(168, 63, 129, 16, 32), METADATA),
    (v4(192, 0, 0, 192, 32), METADATA),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(255, 255, 255, 255, 32), Class::Blocked("the broadcast address")),
    (v6([0, 0, 0], [0, 1], 128), Class::Loopback),
    (v6([0, 0, 0], [0, 0], 128), UNSPECIFIED),
    (v6([0xfe80, 0, 0], [0, 0], 10), LINK_LOCAL),
    (v6([0xfd00, 0x0ec2, 0], [0, 0x254], 128), METADATA),
    (v6([0xfd20, 0x00ce, 0], [0, 0x254], 128), METADATA),
    (v6([0xfd00, 0x00c1, 0], [0xa9fe, 0xa9fe], 128), METADATA),
    (v6([0xfd00, 0x0042, 0], [0, 0x42], 128), METADATA),
    (v6([0xff00, 0, 0], [0, 0], 8), MULTICAST),
    (v6([0xfec0, 0, 0], [0, 0], 10), Class::Blocked("a site-local address")),
];

/// The sort of an address, also where it is the IPv6 form of an IPv4 address.
pub(crate) fn class(address: IpAddr) -> Class {
    let own = SPECIAL.iter().find(|(network, _)| network.holds(address)).map_or(Class::Plain, |(_, class)| *class);
    match address {
        IpAddr::V4(_) => own,
        IpAddr::V6(outer) => embedded(outer).into_iter().map(|inner| class(inner.into())).fold(own, Ord::max),
    }
}

/// Every IPv4 address that a network on the way may take this one for.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let tail = join(g, h);
    match [a, b, c, d, e, f] {
        // `::` and `::1` are themselves; the rest are the mapped, the long deprecated compatible, and the translated form.
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => Vec::new(),
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] => vec![tail],
        // NAT64 (RFC 6052) and its local prefix (RFC 8215), where the address may stand at several places.
        [0x64, 0xff9b, 0, 0, 0, 0] => vec![tail],
        [0x64, 0xff9b, 1, ..] => {
            let places = [
                tail,
                join(d, (e << 8) | (f >> 8)),
                join((d << 8) | (e & 0xff), f),
                join((e << 8) | (f >> 8), (f << 8) | (g >> 8)),
            ];
            // Where nothing stands there is no address.
            places.into_iter().filter(|place| place.octets().first() != Some(&0)).collect()
        }
        // 6to4 and Teredo.
        [0x2002, ..] => vec![join(b, c)],
        [0x2001, 0, ..] => vec![join(c, d), join(!g, !h)],
        // ISATAP.
        [.., 0 | 0x200, 0x5efe] => vec![tail],
        _ => Vec::new(),
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let shown = excerpt(text, 60);
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| format!("`{shown}` is not an address or a block like `10.1.0.0/16`"))?;
        if address.to_canonical() != address {
            return Err(format!("`{shown}` must be written as an IPv4 address"));
        }
        let whole = width(address);
        let prefix = match prefix {
            None => whole,
            Some(bits) => match bits.parse::<u32>() {
                Ok(number) if number <= whole && number.to_string() == bits => number,
                _ => return Err(format!("`{shown}` must end in a number of bits up to {whole}")),
            },
        };
        if bits(address) & !mask(whole, prefix) != 0 {
            return Err(format!("`{shown}` has bits set after its first {prefix}"));
        }
        Ok(Self { address, prefix })
    }

    /// Whether the address is in it.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let whole = width(self.address);
        width(address) == whole && (bits(address) ^ bits(self.address)) & mask(whole, self.prefix) == 0
    }

    /// Whether all of `narrow` is in it.
    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        self.prefix <= narrow.prefix && self.holds(narrow.address)
    }

    /// The sort of address that it means by name: it is one address, or all within one special
    /// block. A wider block means only the plain addresses in it.
    pub(crate) fn names(&self) -> Class {
        if self.prefix == width(self.address) {
            return class(self.address);
        }
        let around = SPECIAL.iter().find(|(special, _)| special.contains(self));
        around.map_or(Class::Plain, |(_, class)| *class)
    }

    /// Whether a connection may go to this address where the grant says `address=` this network.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        self.holds(address) && (class(address) == Class::Plain || self.names() != Class::Plain)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first `prefix` of `whole` bits.
fn mask(whole: u32, prefix: u32) -> u128 {
    let all = u128::MAX >> (128 - whole.min(128));
    all & !all.checked_shr(prefix).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.prefix == width(self.address) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}
