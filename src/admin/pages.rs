//! What the admin listener has, listed once: for `/api/v1`, and as an OpenAPI document.

use serde_json::{Map, Value, json};

pub struct Page {
    pub method: &'static str,
    pub path: &'static str,
    pub about: &'static str,
    /// Parameters of its query: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// What is sent, as an example.
    pub body: Option<&'static str>,
}

const fn get(path: &'static str, about: &'static str) -> Page {
    Page {
        method: "GET",
        path,
        about,
        query: &[],
        body: None,
    }
}

const fn post(path: &'static str, body: &'static str, about: &'static str) -> Page {
    Page {
        method: "POST",
        path,
        about,
        query: &[],
        body: Some(body),
    }
}

impl Page {
    const fn with(self, query: &'static [(&'static str, &'static str)]) -> Page {
        Page { query, ..self }
    }
}

pub const PAGES: &[Page] = &[
    get("/", "The dashboard."),
    get("/healthz", "The process lives. Needs no token."),
    get(
        "/readyz",
        "It takes traffic; 503 while it starts or drains. Needs no token.",
    ),
    get("/metrics", "For Prometheus."),
    get("/api/v1", "This list."),
    get("/api/v1/openapi.json", "This list as OpenAPI 3.1."),
    get("/api/v1/status", "How the edge is."),
    get(
        "/api/v1/config",
        "The configuration in force, without its secrets.",
    ),
    get(
        "/api/v1/upstreams",
        "Servers: what state they are in and why; splits.",
    ),
    get(
        "/api/v1/limits",
        "Rate limits, and the addresses that were refused most in the last minutes.",
    ),
    get(
        "/api/v1/bans",
        "Addresses that are kept out, and for how long.",
    ),
    get(
        "/api/v1/cache",
        "What each cache holds and how it is asked.",
    ),
    get("/api/v1/cache/top", "What is asked for most.").with(&[
        ("zone", "Of this cache alone."),
        ("limit", "1 to 1000; 20."),
    ]),
    get(
        "/api/v1/cache/lookup",
        "What is stored of a URL: its variants and renditions.",
    )
    .with(&[("url", "http://shop.example/photos/1.jpg")]),
    get(
        "/api/v1/images",
        "Pictures that could lately not be made, or slowly.",
    ),
    get(
        "/api/v1/certificates",
        "What listeners show, for whom, and until when.",
    ),
    get("/api/v1/errors", "The last answers of 500 and above."),
    get(
        "/api/v1/requests",
        "Requests as they are answered, 200 at most from one look to the next.",
    )
    .with(&[("after", "`next` of the last look.")]),
    post(
        "/api/v1/explain",
        r#"{"method": "GET", "url": "http://shop.example/photos/1.jpg"}"#,
        "What would be done with such a request, and why.",
    ),
    post("/api/v1/validate", "{}", "What a reload would change."),
    post(
        "/api/v1/reload",
        r#"{"dry_run": false}"#,
        "Reads the configuration again and puts it in force, or says only what that would change (`dry_run`).",
    ),
    post(
        "/api/v1/upgrade",
        "{}",
        "Hands over to a new process of the program as it is on disk; answers once that serves.",
    ),
    post(
        "/api/v1/cache/purge",
        r#"{"url": "http://shop.example/photos/1.jpg", "soft": false}"#,
        "Takes back what is stored: one of `url`, `prefix`, `host`, `tag`; `soft` makes it stale only.",
    ),
    post(
        "/api/v1/servers/drain",
        r#"{"upstream": "app", "server": "127.0.0.1:3000"}"#,
        "The server finishes what it has and gets nothing new.",
    ),
    post(
        "/api/v1/servers/undrain",
        r#"{"upstream": "app", "server": "127.0.0.1:3000"}"#,
        "It is as before.",
    ),
    post(
        "/api/v1/servers/weight",
        r#"{"upstream": "app", "server": "127.0.0.1:3000", "weight": 2}"#,
        "Its share beside the others, 0 to 65535, until it is given back with null; outlives reloads.",
    ),
    post(
        "/api/v1/splits/restore",
        r#"{"route": "shop"}"#,
        "A split whose side was rolled back gets its shares again.",
    ),
    post(
        "/api/v1/bans/add",
        r#"{"address": "203.0.113.7", "seconds": 600}"#,
        "Keeps an address out.",
    ),
    post(
        "/api/v1/bans/lift",
        r#"{"address": "203.0.113.7"}"#,
        "Lets it in again.",
    ),
];

/// Names of orders for those who type.
const SHORT: [&str; 6] = ["/purge", "/drain", "/undrain", "/ban", "/unban", "/restore"];

/// How what is there may be asked; for Allow.
pub fn allowed(path: &str) -> Option<&'static str> {
    if SHORT.contains(&path) {
        return Some("POST");
    }
    let page = PAGES.iter().find(|page| page.path == path)?;
    Some(match page.method {
        "GET" => "GET, HEAD",
        method => method,
    })
}

/// An order that may be sent there.
pub fn example(path: &str) -> Option<&'static str> {
    PAGES.iter().find(|page| page.path == path)?.body
}

/// A line a page.
pub fn index() -> String {
    let mut index = String::from("Lakh admin\n\n");
    for page in PAGES {
        let (method, path, about) = (page.method, page.path, page.about);
        let parameters: Vec<_> = page.query.iter().map(|(name, _)| *name).collect();
        let query = match parameters.is_empty() {
            true => String::new(),
            false => format!("?{}=…", parameters.join("=…&")),
        };
        let body = page.body.map_or(String::new(), |body| format!(" {body}"));
        index.push_str(&format!("{method:4} {path}{query}{body}\n     {about}\n"));
    }
    index
}

pub fn openapi() -> Value {
    let mut paths = Map::new();
    for page in PAGES {
        paths.insert(
            page.path.to_owned(),
            json!({page.method.to_lowercase(): operation(page)}),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lakh admin",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Orders are POSTed as application/json. What goes wrong is \
                            application/problem+json (RFC 9457), with a stable `type`.",
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    })
}

fn operation(page: &Page) -> Value {
    let parameters = page.query.iter().map(|(name, about)| {
        json!({"name": name, "in": "query", "description": about, "schema": {"type": "string"}})
    });
    let mut operation = json!({
        "summary": page.about,
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": {
            "200": {"description": "As asked."},
            "default": {
                "description": "Why not.",
                "content": {"application/problem+json": {"schema": {"type": "object"}}},
            },
        },
    });
    if let Some(body) = page.body {
        let example: Value = serde_json::from_str(body).expect("examples are JSON");
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
        });
    }
    if !page.path.ends_with("z") && page.path != "/" {
        operation["security"] = json!([{}, {"token": []}]);
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_and_the_document_have_every_page() {
        let (index, document) = (index(), openapi());
        for page in PAGES {
            assert!(index.contains(page.path));
            let method = page.method.to_lowercase();
            assert_eq!(document["paths"][page.path][&method]["summary"], page.about);
        }
    }
}
