//! The query string of an API call, read once into what the handlers need.

use super::ApiError;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Longest `q`, in characters.
pub const MAX_QUERY_CHARS: usize = 500;
/// Most entries one call returns.
pub const MAX_TOP: usize = 50;

/// Every parameter some path takes; others are ignored.
const KNOWN: [&str; 5] = ["q", "top", "account", "category", "trace"];

/// Decoded parameters by name.
#[derive(Debug)]
pub struct Parameters<'a>(BTreeMap<&'static str, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    /// # Errors
    /// [`ApiError::BadParameter`] when one is given twice or is not UTF-8.
    pub fn parse(raw: &'a str) -> Result<Self, ApiError> {
        let mut parameters = BTreeMap::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = KNOWN.into_iter().find(|known| *known == name) else {
                continue;
            };
            let spaced = value.replace('+', " ");
            let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
            let decoded = decoded.map_err(|_| refused(name, "is not UTF-8"))?.into_owned();
            if parameters.insert(name, Cow::Owned(decoded)).is_some() {
                return Err(refused(name, "is given twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// `q` without spaces around it.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] when it is missing, blank or longer than [`MAX_QUERY_CHARS`].
    pub fn question(&self) -> Result<&str, ApiError> {
        let text = self.0.get("q").map(|text| text.trim()).unwrap_or_default();
        match text.chars().count() {
            1..=MAX_QUERY_CHARS => Ok(text),
            _ => Err(refused("q", &format!("1–{MAX_QUERY_CHARS} characters are accepted"))),
        }
    }

    /// How many entries are wanted.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] when it is no number in 1–[`MAX_TOP`].
    pub fn top(&self, default: usize) -> Result<usize, ApiError> {
        let Some(text) = self.0.get("top") else {
            return Ok(default);
        };
        let top = text.parse().ok().filter(|top| (1..=MAX_TOP).contains(top));
        top.ok_or_else(|| refused("top", &format!("1–{MAX_TOP} is accepted")))
    }

    /// `None`: all.
    pub fn category(&self) -> Option<&str> {
        self.0
            .get("category")
            .map(|text| &**text)
            .filter(|text| !text.is_empty())
    }

    /// Whether every step is to be shown.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] when it is neither 0 nor 1.
    pub fn trace(&self) -> Result<bool, ApiError> {
        match self.0.get("trace").map(|text| &**text) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(refused("trace", "0 or 1 is accepted")),
        }
    }

    /// The account asked for; the only one when there is one.
    ///
    /// # Errors
    /// [`ApiError::BadParameter`] when it is not among `accounts`, or missing where there are several.
    pub fn account<'b>(&self, mut accounts: impl Iterator<Item = &'b String>) -> Result<&'b str, ApiError> {
        match self.0.get("account").filter(|id| !id.is_empty()) {
            Some(id) => accounts
                .find(|known| **known == **id)
                .map(String::as_str)
                .ok_or_else(|| refused("account", "is not known")),
            None => match (accounts.next(), accounts.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(refused("account", "is needed: there are several")),
            },
        }
    }
}

fn refused(name: &'static str, reason: &str) -> ApiError {
    ApiError::BadParameter {
        name,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(raw: &str) -> Parameters<'_> {
        Parameters::parse(raw).unwrap()
    }

    #[test]
    fn parameters_are_decoded_once_and_may_come_once() {
        assert_eq!(parsed("q=%E5%BC%80+%E6%88%B7&x=1").question(), Ok("开 户"));
        assert!(Parameters::parse("q=a&q=b").is_err());
        assert!(Parameters::parse("q=%FF").is_err());
        assert!(parsed("top=51").top(5).is_err() && parsed("top=0").top(5).is_err());
        assert_eq!(parsed("").top(5), Ok(5));
        assert!(parsed("q=+").question().is_err() && parsed("").question().is_err());
        assert_eq!((parsed("trace=1").trace(), parsed("").trace()), (Ok(true), Ok(false)));
        assert!(parsed("trace=yes").trace().is_err());
    }

    #[test]
    fn the_account_may_be_left_out_when_there_is_one() {
        let (one, two) = (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(parsed("").account(one.iter()), Ok("a"));
        assert!(parsed("").account(two.iter()).is_err());
        assert_eq!(parsed("account=b").account(two.iter()), Ok("b"));
        assert!(parsed("account=c").account(two.iter()).is_err());
    }
}
