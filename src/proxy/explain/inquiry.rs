//! What is asked about: a request that nobody sends.

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// As JSON, the body of `POST /api/v1/explain`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Inquiry {
    pub method: String,
    /// `http://shop.example/photos/1.jpg?w=400`.
    pub url: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Where its connection comes from; this machine, if that isn't said.
    #[serde(default)]
    pub from: Option<IpAddr>,
}

/// An inquiry that makes sense.
pub struct Asked {
    pub method: Method,
    pub is_https: bool,
    pub port: u16,
    /// As in a Host field.
    pub host: String,
    pub target: Vec<u8>,
    pub headers: HeaderMap,
    pub from: IpAddr,
}

impl Inquiry {
    pub fn read(&self) -> Result<Asked, String> {
        let method = self.method.to_ascii_uppercase();
        let method = Method::try_from(method.as_str());
        let method = method.map_err(|_| format!("`{}` is not a method", self.method))?;
        let wrong = || {
            let url = &self.url;
            match url.strip_prefix('/') {
                Some(path) => {
                    format!("which listener and host? Write the whole URL: http://localhost/{path}")
                }
                None => {
                    format!("`{url}` is not a URL; write it like http://shop.example/photos/1.jpg")
                }
            }
        };
        let url: Uri = self.url.parse().map_err(|_| wrong())?;
        let is_https = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = url.authority().ok_or_else(wrong)?.as_str();
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let mut headers = self.fields()?;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::try_from(authority).map_err(|_| wrong())?);
        }
        Ok(Asked {
            method,
            is_https,
            port: url.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            host: super::super::headers::host_field(&headers).to_owned(),
            target: target.as_bytes().to_vec(),
            headers,
            from: self.from.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        })
    }

    fn fields(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let field = HeaderName::try_from(name.as_str()).ok();
            let field = field.zip(HeaderValue::try_from(value.trim()).ok());
            let (field, value) = field.ok_or_else(|| format!("`{name}: {value}` is no field"))?;
            headers.append(field, value);
        }
        Ok(headers)
    }
}
