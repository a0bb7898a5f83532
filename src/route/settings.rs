//! What a route matches. What is done with a match is the route's policies' affair.

/// All that is set must hold. An empty list means "any".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Lower case: `shop.example` or `*.shop.example` (one or more labels before it).
    pub hosts: Vec<String>,
    /// `/exact`, `/prefix/*`, or `/*`.
    pub path: String,
    pub methods: Vec<http::Method>,
    /// Fields that must be there with exactly this value.
    pub headers: Vec<(http::HeaderName, String)>,
    /// Claims that must be proven, with exactly this value.
    pub claims: Vec<(String, String)>,
}
