//! What is proven about who asks.

/// The claims of a verified token, or of an API key: names and values as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// By name, each once.
    sorted: Box<[(Box<str>, Box<str>)]>,
}

impl Claims {
    /// Of two with one name the first holds.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        claims: impl IntoIterator<Item = (N, V)>,
    ) -> Claims {
        let mut sorted: Vec<(Box<str>, Box<str>)> = claims
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|later, first| later.0 == first.0);
        Claims {
            sorted: sorted.into(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.sorted.binary_search_by(|(own, _)| (**own).cmp(name));
        at.ok().map(|at| &*self.sorted[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sorted.iter().map(|(name, value)| (&**name, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_and_the_first_of_two_holds() {
        let claims = Claims::new([("sub", "ann"), ("class", "truck"), ("sub", "bob")]);
        assert_eq!(claims.get("sub"), Some("ann"));
        assert_eq!(claims.get("class"), Some("truck"));
        assert_eq!(claims.get("role"), None);
        let all: Vec<_> = claims.iter().collect();
        assert_eq!(all, [("class", "truck"), ("sub", "ann")]);
    }
}
