//! Why the edge refused, as a label.

/// Why the edge itself refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    RateLimit,
    Address,
    BodySize,
    Concurrency,
    NoServer,
    ImageQueue,
    ImageSignature,
    Busy,
    LimitUnknown,
    /// No proof of who asks, or a bad one.
    Token,
    /// A good proof that claims too little.
    Claims,
    /// No keys to check a proof with.
    NoKeys,
    Maintenance,
    HeadSize,
    UrlLength,
    /// A preflight of a page that may not ask.
    Origin,
}

impl Refusal {
    /// In the order of the variants: the index of a counter is the variant's number.
    pub const ALL: [Refusal; 16] = [
        Refusal::RateLimit,
        Refusal::Address,
        Refusal::BodySize,
        Refusal::Concurrency,
        Refusal::NoServer,
        Refusal::ImageQueue,
        Refusal::ImageSignature,
        Refusal::Busy,
        Refusal::LimitUnknown,
        Refusal::Token,
        Refusal::Claims,
        Refusal::NoKeys,
        Refusal::Maintenance,
        Refusal::HeadSize,
        Refusal::UrlLength,
        Refusal::Origin,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Refusal::RateLimit => "rate_limit",
            Refusal::Address => "address",
            Refusal::BodySize => "body_size",
            Refusal::Concurrency => "concurrency",
            Refusal::NoServer => "no_server",
            Refusal::ImageQueue => "image_queue",
            Refusal::ImageSignature => "image_signature",
            Refusal::Busy => "busy",
            Refusal::LimitUnknown => "limit_unknown",
            Refusal::Token => "token",
            Refusal::Claims => "claims",
            Refusal::NoKeys => "no_keys",
            Refusal::Maintenance => "maintenance",
            Refusal::HeadSize => "head_size",
            Refusal::UrlLength => "url_length",
            Refusal::Origin => "origin",
        }
    }
}
