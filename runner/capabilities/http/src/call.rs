use countersign_capability::{Choice, TypedCall};
use countersign_model::text::excerpt;
use countersign_model::{Access, Fault, FaultKind, Selector};
use serde::{Deserialize, Serialize};

use crate::url::Url;

/// The word of a call's text that names the guest's headers.
pub(crate) const HEADERS: &str = "headers";

/// A call of `countersign:http`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `read.get`
    Get(Request),
    /// `read.head`
    Head(Request),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// As the guest wrote it; normalized before anything is decided or sent.
    pub url: String,
    /// The guest's own headers.
    pub headers: Vec<Header>,
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The reply to either call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case, without `set-cookie`; those of one name stand together.
    pub headers: Vec<Header>,
    /// At most 4 MiB.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl Call {
    /// What is asked for.
    #[must_use]
    pub fn request(&self) -> &Request {
        match self {
            Self::Get(request) | Self::Head(request) => request,
        }
    }

    pub(crate) fn url(&self) -> Result<Url, Fault> {
        let url = &self.request().url;
        Url::parse(url)
            .map_err(|why| Fault::new(FaultKind::Invalid, format!("`{}` is not a URL: {why}", excerpt(url, 200))))
    }

    pub(crate) fn parse(function: &str, selector: &Selector) -> Result<Self, String> {
        let kind = match function {
            "get" => Self::Get,
            "head" => Self::Head,
            other => return Err(format!("`{}` is not known: expected `get` or `head`", excerpt(other, 40))),
        };
        let url = Url::parse(selector.only_word("one URL")?)?;
        Ok(kind(Request { url: url.to_string(), headers: Vec::new() }))
    }
}

impl TypedCall for Call {
    fn function(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Head(_) => "head",
        }
    }

    fn access(&self) -> Access {
        Access::Read
    }

    /// The URL, and the names of the guest's headers.
    fn selector(&self) -> Selector {
        let request = self.request();
        let word = Selector::word(self.url().map_or_else(|_| request.url.clone(), |url| url.to_string()));
        if request.headers.is_empty() {
            return word;
        }
        let names: Vec<_> = request.headers.iter().map(|header| header.name.to_ascii_lowercase()).collect();
        word.with(HEADERS, names.join(","))
    }

    fn subject(&self) -> Result<String, Fault> {
        self.url().map(|url| url.to_string())
    }

    fn payload(&self) -> u64 {
        0
    }

    fn choice(&self) -> Choice {
        // A grant names the URL, and neither of these.
        match self {
            Self::Get(request) if request.headers.is_empty() => Choice::Nothing,
            Self::Head(request) if request.headers.is_empty() => Choice::More("`head` instead of `get`"),
            Self::Get(_) | Self::Head(_) => Choice::More("the headers"),
        }
    }
}
