//! Which URLs: one a line, or those of a sitemap (sitemaps.org, protocol 0.9).

use super::visit::{Target, fetch};
use roxmltree::{Document, Node};
use std::fmt::Write;
use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What is wrong is told at once, but no more than this.
const MAX_WRONG: usize = 20;

/// Where the URLs are.
#[derive(Clone, Debug)]
pub enum Source {
    Stdin,
    List(PathBuf),
    /// A URL, which is asked for through the edge, or a file. May be an index of sitemaps.
    Sitemap(String),
}

/// All of them, or all that is wrong with them.
pub fn read(source: &Source, edge: SocketAddr) -> Result<Vec<Target>, String> {
    let targets = match source {
        Source::Stdin => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|e| format!("standard input: {e}"))?;
            of_lines("standard input", &text)
        }
        Source::List(file) => {
            let name = file.display().to_string();
            let text = fs::read_to_string(file).map_err(|e| format!("{name}: {e}"))?;
            of_lines(&name, &text)
        }
        Source::Sitemap(name) => of_sitemap(name, &mut |name| load(name, edge)),
    }?;
    match targets.len() {
        0 => Err("there are no URLs to ask for".into()),
        _ => Ok(targets),
    }
}

/// Empty lines and those that begin with `#` say nothing.
fn of_lines(name: &str, text: &str) -> Result<Vec<Target>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(i, line)| (i + 1, line.trim()));
    parse_all(
        name,
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')),
    )
}

/// `load` gives the text of a sitemap. An index names sitemaps, never another index.
fn of_sitemap(
    name: &str,
    load: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Vec<Target>, String> {
    let (kind, urls) = entries(name, &load(name)?)?;
    if kind == Kind::Urls {
        return parse_all(name, urls.iter().map(|(line, url)| (*line, url.as_str())));
    }
    let mut all = Vec::new();
    for (line, url) in &urls {
        Target::parse(url).map_err(|why| format!("{name}:{line}: {why}"))?;
        let (kind, urls) = entries(url, &load(url)?)?;
        if kind == Kind::Sitemaps {
            return Err(format!("{url}: an index in the index {name}"));
        }
        all.extend(parse_all(
            url,
            urls.iter().map(|(line, url)| (*line, url.as_str())),
        )?);
    }
    Ok(all)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Urls,
    Sitemaps,
}

/// Each `loc` with its line.
fn entries(name: &str, text: &str) -> Result<(Kind, Vec<(usize, String)>), String> {
    let document = Document::parse(text).map_err(|e| format!("{name}: {e}"))?;
    let (kind, entry) = match document.root_element().tag_name().name() {
        "urlset" => (Kind::Urls, "url"),
        "sitemapindex" => (Kind::Sitemaps, "sitemap"),
        other => {
            return Err(format!(
                "{name}: <{other}> is no sitemap; it begins with <urlset> or <sitemapindex>"
            ));
        }
    };
    let named = |node: &Node<'_, '_>, name: &str| node.tag_name().name() == name;
    let entries = document.root_element().children();
    let entries = entries.filter(|node| named(node, entry));
    let locations = entries.filter_map(|node| node.children().find(|node| named(node, "loc")));
    let location = |node: Node<'_, '_>| {
        let line = document.text_pos_at(node.range().start).row as usize;
        (line, node.text().unwrap_or_default().trim().to_owned())
    };
    Ok((kind, locations.map(location).collect()))
}

fn load(name: &str, edge: SocketAddr) -> Result<String, String> {
    let bytes = match Target::parse(name) {
        Ok(target) => {
            let mut body = Vec::new();
            match fetch(edge, &target, &mut body) {
                Ok(head) if head.status == 200 => body,
                Ok(head) => return Err(format!("{name}: status {}", head.status)),
                Err(e) => return Err(format!("{name}: {e}")),
            }
        }
        Err(_) => fs::read(name).map_err(|e| format!("{name}: {e}"))?,
    };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(format!("{name}: is compressed; unpack it first (gunzip)"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{name}: is not UTF-8"))
}

fn parse_all<'a>(
    name: &str,
    lines: impl Iterator<Item = (usize, &'a str)>,
) -> Result<Vec<Target>, String> {
    let (mut targets, mut wrong) = (Vec::new(), Vec::new());
    for (line, url) in lines {
        match Target::parse(url) {
            Ok(target) => targets.push(target),
            Err(why) => wrong.push(format!("{name}:{line}: {why}")),
        }
    }
    if wrong.is_empty() {
        return Ok(targets);
    }
    let more = wrong.len().saturating_sub(MAX_WRONG);
    wrong.truncate(MAX_WRONG);
    let mut told = wrong.join("\n      ");
    if more > 0 {
        // Writing to a String can't fail.
        let _ = write!(told, "\n      and {more} more");
    }
    Err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sitemap(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut load = |name: &str| {
            let found = files.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| format!("{name}: missing"))
        };
        let targets = of_sitemap(files[0].0, &mut load)?;
        Ok(targets.iter().map(Target::to_string).collect())
    }

    const URLS: &str = "<?xml version='1.0'?>
<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='i'>
<url><image:image><image:loc>http://h/no</image:loc></image:image><loc> http://h/a?b&amp;c </loc></url>
<url><lastmod>2025-01-01</lastmod><loc><![CDATA[http://h/d]]></loc></url>
</urlset>";

    #[test]
    fn lines_with_their_numbers() {
        let targets = of_lines("f", "http://h/a\n\n# no\n  http://h/b\r\n").expect("URLs");
        assert_eq!(targets.len(), 2);
        let why = of_lines("f", "http://h/a\n\nh/a\nhttp://h/b\n/c").expect_err("two are wrong");
        assert!(
            why.contains("f:3: `h/a`") && why.contains("f:5: `/c`"),
            "{why}"
        );
        let many = of_lines("f", &"x\n".repeat(50)).expect_err("all are wrong");
        assert!(many.ends_with("and 30 more"), "{many}");
    }

    #[test]
    fn sitemaps_and_their_index() {
        assert_eq!(
            sitemap(&[("s", URLS)]),
            Ok(vec!["h/a?b&c".into(), "h/d".into()])
        );
        let index = "<sitemapindex><sitemap><loc>http://h/1</loc></sitemap>
<sitemap><loc>http://h/2</loc></sitemap></sitemapindex>";
        let two = "<urlset><url><loc>http://h/z</loc></url></urlset>";
        let all = sitemap(&[("i", index), ("http://h/1", URLS), ("http://h/2", two)]);
        assert_eq!(all.map(|urls| urls.join(" ")), Ok("h/a?b&c h/d h/z".into()));
        for (files, why) in [
            (
                &[("i", index), ("http://h/1", index)][..],
                "http://h/1: an index in the index i",
            ),
            (&[("i", index)], "http://h/1: missing"),
            (&[("s", "<html/>")], "s: <html> is no sitemap"),
            (&[("s", "<urlset>")], "s: "),
            (
                &[("s", "<urlset>\n<url>\n<loc>/a</loc></url></urlset>")],
                "s:3: `/a` is not a URL",
            ),
        ] {
            let told = sitemap(files).expect_err(why);
            assert!(told.starts_with(why), "{told}");
        }
    }
}
