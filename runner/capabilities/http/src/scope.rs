use std::net::IpAddr;

use countersign_model::{Fault, FaultKind, Selector};

use crate::address::{Class, Network, class};
use crate::origin::{Host, Origin};
use crate::pattern::{PathPattern, QueryPattern};
use crate::url::{Parts, Url};

/// What a grant may name: one origin, and what of its paths and queries is open.
///
/// In text `URL-PATTERN [address=IP-OR-BLOCK]`. In the pattern's path `*` stands for characters of
/// one segment and a last segment `**` for everything below. Without a query pattern no query is
/// allowed; `?*` allows any; else the parameters are given in order, with `*` for a whole value.
/// `address` says where the origin must resolve to, and is needed for addresses that are otherwise blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    origin: Origin,
    path: PathPattern,
    query: QueryPattern,
    /// Never set where the host is an address: that one names itself.
    address: Option<Network>,
}

impl Scope {
    pub(crate) fn parse(selector: &Selector) -> Result<Self, String> {
        const EXPECTED: &str = "one URL pattern like `https://api.example.com/status/*`";
        let [pattern] = selector.words.as_slice() else {
            return Err(format!("expected {EXPECTED}"));
        };
        if let Some(key) = selector.named.keys().find(|key| *key != "address") {
            return Err(format!("`{key}` is not known here: expected {EXPECTED}, and `address` at most"));
        }
        let Parts { origin, path, query } = Parts::parse(pattern)?;
        let named = selector.named.get("address").map(|text| Network::parse(text)).transpose()?;
        let address = match (&origin.host, named) {
            (Host::Address(host), Some(network)) if !network.holds(*host) => {
                return Err(format!("`address={network}` does not hold the host `{host}`"));
            }
            (Host::Address(_), _) => None,
            (Host::Name(_), named) => named,
        };
        Ok(Self { origin, path: PathPattern::parse(&path)?, query: QueryPattern::parse(query.as_deref())?, address })
    }

    pub(crate) fn selector(&self) -> Selector {
        let word = Selector::word(format!("{}{}{}", self.origin, self.path, self.query));
        match &self.address {
            Some(network) => word.with("address", network.to_string()),
            None => word,
        }
    }

    /// The scope of this URL alone.
    pub(crate) fn of(url: &Url) -> Result<Self, String> {
        Self::parse(&Selector::word(url.to_string()))
    }

    /// Whether the URL is within it.
    pub(crate) fn takes_in(&self, url: &Url) -> bool {
        self.origin == url.origin && self.path.matches(&url.path) && self.query.matches(url.query.as_deref())
    }

    pub(crate) fn contains(&self, narrow: &Self) -> bool {
        self.origin == narrow.origin
            && self.path.contains(&narrow.path)
            && self.query.contains(&narrow.query)
            && self.contains_addresses(narrow)
    }

    fn contains_addresses(&self, narrow: &Self) -> bool {
        match (&self.address, &narrow.address) {
            (None, None) => true,
            // Whatever the name resolves to is more than one block of it.
            (Some(_), None) => false,
            (None, Some(narrow)) => self.permits_class(narrow.names()),
            (Some(wide), Some(narrow)) => {
                wide.contains(narrow) && (wide.names() != Class::Plain || narrow.names() == Class::Plain)
            }
        }
    }

    /// Whether a name without `address=` may resolve to such an address.
    fn permits_class(&self, class: Class) -> bool {
        let local = matches!(&self.origin.host, Host::Name(name) if name == "localhost");
        class == if local { Class::Loopback } else { Class::Plain }
    }

    /// Of the addresses that the origin's name resolved to, those that a connection may go to.
    ///
    /// # Errors
    /// `Denied` when none is permitted or, without `address=`, when one is not: a name that is partly
    /// somewhere forbidden is not to be trusted with the rest.
    pub(crate) fn admit(&self, found: &[IpAddr]) -> Result<Vec<IpAddr>, Fault> {
        let found: Vec<IpAddr> = found.iter().map(IpAddr::to_canonical).collect();
        let origin = &self.origin;
        match (&origin.host, &self.address) {
            (Host::Address(host), _) => Ok(vec![*host]),
            (Host::Name(_), Some(network)) => {
                let permitted: Vec<_> = found.iter().copied().filter(|address| network.permits(*address)).collect();
                if permitted.is_empty() {
                    let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
                    let what = format!("`{origin}` resolves to {}, not to `{network}`", found.join(", "));
                    return Err(Fault::new(FaultKind::Denied, what));
                }
                Ok(permitted)
            }
            (Host::Name(_), None) => {
                for address in &found {
                    let class = class(*address);
                    if !self.permits_class(class) {
                        let sort = match class {
                            Class::Plain => "which is not this host",
                            Class::Loopback => "this host itself",
                            Class::Blocked(sort) => sort,
                        };
                        let what = format!(
                            "`{origin}` resolves to `{address}`, {sort}: only a grant with `address={address}` allows that"
                        );
                        return Err(Fault::new(FaultKind::Denied, what));
                    }
                }
                Ok(found)
            }
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        try_scope(text).expect(text)
    }

    fn try_scope(text: &str) -> Result<Scope, String> {
        let (_, _, selector) = Selector::parse_named(&format!("http.read {text}")).expect(text);
        Scope::parse(&selector)
    }

    #[test]
    fn prints_what_parses_to_the_same() {
        for (text, printed) in [
            ("HTTP://LOCALHOST:80", "http://localhost/"),
            ("https://h/a/*/b*c/**?*", "https://h/a/*/b*c/**?*"),
            ("http://h/?a=%61&b=*&c", "http://h/?a=a&b=*&c"),
            ("http://h/%2a?x=%2a", "http://h/%2A?x=%2A"),
            ("http://h/ address=10.0.0.0/8", "http://h/ address=10.0.0.0/8"),
            ("http://h/ address=fd00:ec2:0::254", "http://h/ address=fd00:ec2::254"),
            ("http://h/ address=10.0.0.1/32", "http://h/ address=10.0.0.1"),
            ("http://10.0.0.1/ address=10.0.0.0/8", "http://10.0.0.1/"),
            ("http://[::1]:80/**", "http://[::1]/**"),
        ] {
            let parsed = scope(text);
            assert_eq!(parsed.selector().to_string(), format!(" {printed}"));
            assert_eq!(scope(printed), parsed);
            assert!(parsed.contains(&parsed), "{text}");
        }
    }

    #[test]
    fn refuses_scopes_that_are_not_pinned() {
        for (text, why) in [
            ("", "expected one URL pattern"),
            ("http://h/ http://i/", "expected one URL pattern"),
            ("http://h/ host=i", "`host` is not known"),
            ("http://*/", "without `*`"),
            ("http://h:*/", "not a port"),
            ("*://h/", "must begin"),
            ("http://h/**/a", "last segment"),
            ("http://h/a**", "last segment"),
            ("http://h/***", "last segment"),
            ("http://h/?", "nothing follows"),
            ("http://h/?a=b*", "one whole value"),
            ("http://h/?*=a", "one whole value"),
            ("http://h/?*=*", "one whole value"),
            ("http://h/?a&*", "one whole value"),
            ("http://h/?**", "one whole value"),
            ("http://h/ address=h", "not an address"),
            ("http://h/ address=010.0.0.1", "not an address"),
            ("http://h/ address=10.0.0.1/8", "bits set"),
            ("http://h/ address=10.0.0.0/33", "bits up to 32"),
            ("http://h/ address=10.0.0.0/08", "bits up to 32"),
            ("http://h/ address=::ffff:10.0.0.1", "IPv4"),
            ("http://10.0.0.1/ address=10.0.0.2", "does not hold"),
        ] {
            let error = try_scope(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn takes_in_what_the_pattern_says() {
        for (pattern, url, expected) in [
            ("http://h/a", "http://h/a", true),
            ("http://h/a", "http://h/%61", true),
            ("http://h/a", "http://h/a/", false),
            ("http://h/a", "http://h/A", false),
            ("http://h/a", "https://h/a", false),
            ("http://h/a", "http://h:8080/a", false),
            ("http://h/a", "http://h:80/a", true),
            ("http://h/a", "http://h.evil/a", false),
            ("http://h/a", "http://i/a", false),
            ("http://h/a", "http://h/a?x", false),
            ("http://h/a/*", "http://h/a/b", true),
            ("http://h/a/*", "http://h/a/", false),
            ("http://h/a/*", "http://h/a", false),
            ("http://h/a/*", "http://h/a/b/c", false),
            ("http://h/*/c", "http://h/b/c", true),
            ("http://h/a*z", "http://h/az", true),
            ("http://h/a*z", "http://h/abzbz", true),
            ("http://h/a*z", "http://h/abzb", false),
            ("http://h/a*b*c", "http://h/aXbYbZc", true),
            ("http://h/a*b*c", "http://h/aXcYbZ", false),
            // `*` takes `%20` whole or not at all.
            ("http://h/a*0", "http://h/a%20", false),
            ("http://h/a*", "http://h/a%20", true),
            ("http://h/%2A", "http://h/b", false),
            ("http://h/%2A", "http://h/%2a", true),
            ("http://h/a/**", "http://h/a", false),
            ("http://h/a/**", "http://h/a/", true),
            ("http://h/a/**", "http://h/a/b/c", true),
            ("http://h/a/**", "http://h/ab/c", false),
            ("http://h/**", "http://h/", true),
            ("http://h/a?*", "http://h/a", true),
            ("http://h/a?*", "http://h/a?b=c&d=/?", true),
            ("http://h/a?q=1", "http://h/a", false),
            ("http://h/a?q=1", "http://h/a?q=1", true),
            ("http://h/a?q=1", "http://h/a?q=2", false),
            ("http://h/a?q=1", "http://h/a?q=1&r=2", false),
            ("http://h/a?q=1&r=2", "http://h/a?r=2&q=1", false),
            ("http://h/a?q=*", "http://h/a?q=", true),
            ("http://h/a?q=*", "http://h/a?q=up%7B%7D", true),
            ("http://h/a?q=*", "http://h/a?q", false),
            ("http://h/a?q=*", "http://h/a?qq=1", false),
            ("http://h/a?q=*", "http://h/a?q=1&admin=1", false),
            ("http://h/a?q=*", "http://h/a?q=1;admin=1", false),
            ("http://h/a?q=*", "http://h/a?q=1%26admin", true),
            ("http://h/a?q=*", "http://h/a?%71=1", true),
            ("http://h/a?q=%2A", "http://h/a?q=1", false),
        ] {
            let url = Url::parse(url).expect(url);
            assert_eq!(scope(pattern).takes_in(&url), expected, "{pattern} {url}");
            if expected {
                let narrow = Scope::of(&url).expect("a URL is a pattern");
                assert!(narrow.takes_in(&url) && scope(pattern).contains(&narrow), "{pattern} {url}");
            }
        }
    }

    #[test]
    fn contains_only_what_it_takes_in() {
        for (wide, narrow, expected) in [
            ("http://h/**", "http://h/a/**", true),
            ("http://h/**", "http://h/**", true),
            ("http://h/a/**", "http://h/**", false),
            ("http://h/a/**", "http://h/a/*", true),
            ("http://h/a/*", "http://h/a/**", false),
            ("http://h/a/*", "http://h/a/b*", true),
            ("http://h/a/b*", "http://h/a/*", false),
            ("http://h/a*c", "http://h/ab*c", true),
            ("http://h/a*c", "http://h/a*", false),
            ("http://h/a*", "http://h/a*c", true),
            ("http://h/*", "http://h/", false),
            ("http://h/%2A", "http://h/*", false),
            ("http://h/a?*", "http://h/a?b=*", true),
            ("http://h/a?*", "http://h/a", true),
            ("http://h/a?b=*", "http://h/a?b=c", true),
            ("http://h/a?b=*", "http://h/a?b=c;d", false),
            ("http://h/a?b=c", "http://h/a?b=*", false),
            ("http://h/a?b=*", "http://h/a?*", false),
            ("http://h/a", "http://h/a?*", false),
            ("http://h/", "http://i/", false),
            ("http://h/", "https://h/", false),
            ("http://h/", "http://h:8080/", false),
            ("http://h/", "http://h/ address=10.0.0.1", true),
            ("http://h/", "http://h/ address=0.0.0.0/0", true),
            ("http://h/", "http://h/ address=169.254.169.254", false),
            ("http://h/", "http://h/ address=127.0.0.1", false),
            ("http://localhost/", "http://localhost/ address=127.0.0.1", true),
            ("http://localhost/", "http://localhost/ address=10.0.0.1", false),
            ("http://h/ address=10.0.0.1", "http://h/", false),
            ("http://h/ address=10.0.0.0/8", "http://h/ address=10.1.0.0/16", true),
            ("http://h/ address=10.1.0.0/16", "http://h/ address=10.0.0.0/8", false),
            ("http://h/ address=0.0.0.0/0", "http://h/ address=169.254.169.254", false),
            ("http://h/ address=169.254.0.0/16", "http://h/ address=169.254.169.254", true),
            ("http://h/ address=64:ff9b::/96", "http://h/ address=64:ff9b::a9fe:a9fe", false),
        ] {
            assert_eq!(scope(wide).contains(&scope(narrow)), expected, "{wide} / {narrow}");
        }
    }

    /// What is permitted, as `admit` gives it, or the reason.
    fn admit(text: &str, found: &[&str]) -> String {
        let found: Vec<IpAddr> = found.iter().map(|text| text.parse().expect(text)).collect();
        match scope(text).admit(&found) {
            Ok(permitted) => permitted.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
            Err(fault) => {
                assert_eq!((fault.kind, fault.reached), (FaultKind::Denied, false));
                fault.what
            }
        }
    }

    #[test]
    fn a_name_reaches_no_blocked_address() {
        for (address, sort) in [
            ("169.254.169.254", "link-local"),
            ("169.254.0.1", "link-local"),
            ("100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("192.0.0.192", "metadata"),
            ("0.0.0.0", "no host"),
            ("0.1.2.3", "no host"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::", "no host"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("fd00:ec2::254", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:100.100.100.200", "metadata"),
            ("::169.254.169.254", "link-local"),
            ("::ffff:0:169.254.169.254", "link-local"),
            ("64:ff9b::169.254.169.254", "link-local"),
            ("64:ff9b:1::169.254.169.254", "link-local"),
            ("64:ff9b:1:a9fe:a9:fe00::", "link-local"),
            ("64:ff9b:1:a9:fe:a9fe::", "link-local"),
            ("64:ff9b:1:0:a9:fea9:fe00::", "link-local"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("2001:0:a9fe:a9fe::1", "link-local"),
            ("2001:0:1234:5678:0:0:5601:5601", "link-local"),
            ("2001:db8::5efe:169.254.169.254", "link-local"),
            ("2001:db8::200:5efe:169.254.169.254", "link-local"),
            ("127.0.0.1", "this host itself"),
            ("127.8.9.10", "this host itself"),
            ("::1", "this host itself"),
            ("::ffff:127.0.0.1", "this host itself"),
            ("64:ff9b::127.0.0.1", "this host itself"),
            ("2002:7f00:1::", "this host itself"),
        ] {
            let denied = admit("http://h/", &[address]);
            assert!(denied.contains(sort) && denied.contains("`address="), "{address}: {denied}");
            // One such address among good ones, or a block that only happens to hold it, changes nothing.
            assert!(admit("http://h/", &["10.0.0.1", address]).contains(sort), "{address}");
            for block in ["0.0.0.0/0", "::/0", "64:ff9b::/32", "128.0.0.0/1"] {
                assert!(
                    admit(&format!("http://h/ address={block}"), &[address]).contains("not to"),
                    "{address} {block}"
                );
            }
            // A grant that names it allows it.
            let plain = address.parse::<IpAddr>().expect(address).to_canonical().to_string();
            assert_eq!(admit(&format!("http://h/ address={plain}"), &[address]), plain);
        }
    }

    #[test]
    fn a_name_reaches_what_the_grant_allows() {
        for (text, found, expected) in [
            ("http://h/", &["10.0.0.1", "192.168.1.1", "2001:db8::1"][..], "10.0.0.1 192.168.1.1 2001:db8::1"),
            ("http://h/", &["::ffff:10.0.0.1"], "10.0.0.1"),
            ("http://h/", &["128.0.0.1", "fc00::1", "101.100.100.200"], "128.0.0.1 fc00::1 101.100.100.200"),
            ("http://localhost/", &["127.0.0.1", "::1"], "127.0.0.1 ::1"),
            ("http://h/ address=127.0.0.0/8", &["127.0.0.1", "::1"], "127.0.0.1"),
            ("http://h/ address=10.0.0.0/8", &["10.0.0.1", "11.0.0.1", "169.254.169.254"], "10.0.0.1"),
            ("http://h/ address=169.254.0.0/16", &["169.254.169.254"], "169.254.169.254"),
            // A host that is an address is not resolved at all.
            ("http://169.254.169.254/", &[], "169.254.169.254"),
            ("http://127.0.0.1/", &["10.0.0.1"], "127.0.0.1"),
        ] {
            assert_eq!(admit(text, found), expected, "{text}");
        }
        assert!(admit("http://localhost/", &["10.0.0.1"]).contains("not this host"));
        assert!(admit("http://h/ address=10.0.0.1", &["10.0.0.2"]).contains("not to `10.0.0.1`"));
    }
}
