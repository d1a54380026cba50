//! SSH's wire format: big-endian numbers, and strings with their length before them.
//!
//! <https://datatracker.ietf.org/doc/html/rfc4251#section-5>

/// The bytes of an integer of P-256, without a sign's zero.
const SCALAR: usize = 32;

/// One string of SSH's wire format, a big-endian length and that many bytes, and what follows it.
#[must_use]
pub fn wire_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Puts one string after what is there. Nothing that is put is near 4 GiB; what were, would not be read again.
pub(crate) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(bytes);
}

/// The strings, one after another.
pub(crate) fn strings(of: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for string in of {
        put_string(&mut bytes, string);
    }
    bytes
}

/// Reads fields one after another; each answers `None` where the bytes end too early.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.fixed().map(|[byte]| byte)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let (string, rest) = wire_string(self.0)?;
        self.0 = rest;
        Some(string)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    /// A positive integer of at most 256 bits, in the one encoding that there is for it: no zeros before it, but the one
    /// that keeps it positive.
    pub(crate) fn scalar(&mut self) -> Option<[u8; SCALAR]> {
        let digits = match self.string()? {
            [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
            digits if digits.first().is_some_and(|first| (1..0x80).contains(first)) => digits,
            _ => return None,
        };
        let mut scalar = [0; SCALAR];
        let start = SCALAR.checked_sub(digits.len())?;
        scalar.get_mut(start..)?.copy_from_slice(digits);
        Some(scalar)
    }

    /// Whether all was read.
    pub(crate) const fn ended(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_they_say() {
        let bytes = [strings(&[b"ab", b""]), vec![7, 0, 0, 1, 2]].concat();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.string(), reader.text()), (Some(&b"ab"[..]), Some("")));
        assert_eq!((reader.byte(), reader.number(), reader.ended()), (Some(7), Some(258), true));
        assert_eq!((reader.byte(), reader.string()), (None, None));
        assert_eq!(wire_string(&[0, 0, 0, 2, 1]), None);
        assert_eq!(wire_string(&[255, 255, 255, 255, 1]), None);
    }

    #[test]
    fn integers_have_one_encoding() {
        let read = |digits: &[u8]| Reader::new(&strings(&[digits])).scalar();
        let value = |end: &[u8]| {
            let mut value = [0; 32];
            value[32 - end.len()..].copy_from_slice(end);
            Some(value)
        };
        assert_eq!(read(&[1]), value(&[1]));
        assert_eq!(read(&[0x7f, 0]), value(&[0x7f, 0]));
        assert_eq!(read(&[0, 0x80]), value(&[0x80]));
        assert_eq!(read(&[[0].as_slice(), &[0xff; 32]].concat()), Some([0xff; 32]));
        // Zero, negative numbers, zeros that are not needed, and what is longer.
        for bad in [&[][..], &[0], &[0x80], &[0xff; 32], &[0, 1], &[0, 0, 0x80], &[1; 33], &[0; 33]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
