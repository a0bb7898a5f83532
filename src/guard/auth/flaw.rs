//! What is wrong with a proof.

/// Why a token, or an API key, is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is none.
    Missing,
    /// There are several: whose is the request?
    Several,
    TooLong,
    Malformed,
    /// None that is allowed here.
    Algorithm,
    /// It asks for something that is not understood here.
    Critical,
    UnknownKey,
    Signature,
    NoExpiry,
    Expired,
    NotYet,
    Issuer,
    Audience,
    UnknownApiKey,
}

impl Flaw {
    /// A clause in lower case, without quotes.
    pub fn description(self) -> &'static str {
        match self {
            Flaw::Missing => "there is none",
            Flaw::Several => "there are several",
            Flaw::TooLong => "it is too long",
            Flaw::Malformed => "it is malformed",
            Flaw::Algorithm => "its algorithm is not allowed here",
            Flaw::Critical => "it asks for an extension that is not known here",
            Flaw::UnknownKey => "its key is not known",
            Flaw::Signature => "its signature does not fit",
            Flaw::NoExpiry => "it does not say when it expires",
            Flaw::Expired => "it has expired",
            Flaw::NotYet => "it is not valid yet",
            Flaw::Issuer => "its issuer is not taken here",
            Flaw::Audience => "it is for another audience",
            Flaw::UnknownApiKey => "it is not known",
        }
    }
}
