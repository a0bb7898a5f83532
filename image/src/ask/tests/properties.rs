//! Wishes of all kinds, in all ways to write them.

use super::*;
use proptest::prelude::*;

/// A wish that all ways can write.
#[derive(Clone, Debug)]
struct Common {
    width: u32,
    height: Option<u32>,
    quality: u32,
    format: &'static str,
    cover: bool,
    gravity: Option<(u16, u16)>,
    blur: u32,
}

prop_compose! {
    fn common()(
        width in 1..2000u32, height in prop::option::of(1..2000u32), quality in 1..=100u32,
        format in prop::sample::select(vec!["webp", "png", "jpeg", "avif"]), cover in any::<bool>(),
        gravity in prop::option::of((0..=1000u16, 0..=1000u16)), blur in 0..50u32,
    ) -> Common {
        Common { width, height, quality, format, cover, gravity, blur }
    }
}

impl Common {
    fn points(&self) -> Option<(String, String)> {
        let share = |n: u16| format!("{:.3}", f64::from(n) / 1000.0);
        self.gravity.map(|(x, y)| (share(x), share(y)))
    }

    fn query(&self, long: bool) -> Vec<String> {
        let name = |short: &str, name: &str| {
            if long {
                name.to_owned()
            } else {
                short.to_owned()
            }
        };
        let mut pairs = vec![
            format!("{}={}", name("w", "width"), self.width),
            format!("{}={}", name("q", "quality"), self.quality),
            format!("{}={}", name("f", "format"), self.format),
            format!("blur={}", self.blur),
        ];
        pairs.extend(self.height.map(|h| format!("{}={h}", name("h", "height"))));
        pairs.extend(self.cover.then(|| "fit=cover".to_owned()));
        pairs.extend(
            self.points()
                .map(|(x, y)| format!("{}={x}x{y}", name("g", "gravity"))),
        );
        pairs
    }

    fn imgproxy(&self, long: bool) -> Vec<String> {
        let kind = if self.cover { "fill" } else { "fit" };
        let height = self.height.unwrap_or(0);
        let enlarge = u8::from(self.cover);
        let mut options = match long {
            true => vec![
                format!("resize:{kind}:{}:{height}:{enlarge}", self.width),
                format!("quality:{}", self.quality),
            ],
            false => vec![format!(
                "rt:{kind}/w:{}/h:{height}/el:{enlarge}/q:{}",
                self.width, self.quality
            )],
        };
        options.push(format!(
            "{}:{}",
            if long { "blur" } else { "bl" },
            self.blur
        ));
        options.extend(self.points().map(|(x, y)| format!("g:fp:{x}:{y}")));
        options
    }
}

/// Every so many characters of it, and all that separate, with percent signs.
fn escaped(text: &str, every: usize) -> String {
    let escape = |(at, byte): (usize, u8)| match at % every == 0 || b"=,:()".contains(&byte) {
        true => format!("%{byte:02x}"),
        false => char::from(byte).to_string(),
    };
    text.bytes().enumerate().map(escape).collect()
}

proptest! {
    #[test]
    fn percent_signs_change_nothing(wish in common(), every in 1..5usize, long in any::<bool>()) {
        let pairs = wish.query(long);
        let plain = key(&format!("/p?{}", pairs.join("&")));
        let query: Vec<_> = pairs
            .iter()
            .map(|pair| pair.split('=').map(|part| escaped(part, every)).collect::<Vec<_>>().join("="))
            .collect();
        let imgproxy: Vec<_> = wish.imgproxy(long).iter().flat_map(|option| option.split('/').map(|part| escaped(part, every)).collect::<Vec<_>>()).collect();
        for target in [
            format!("/p?{}", query.join("&")),
            format!("/cdn-cgi/image/{}/p", escaped(&pairs.join(","), every)),
            format!("/x/{}/plain/p@{}", imgproxy.join("/"), wish.format),
        ] {
            prop_assert_eq!(&asked(&target).source, &here("/p"), "{}", target);
            prop_assert_eq!(&key(&target), &plain, "{}", target);
        }
    }

    #[test]
    fn every_way_to_ask_the_same_has_the_same_plan_and_source(
        wish in common(), path in "/[a-z0-9_.-][a-z0-9/_.-]{0,20}", id in prop::option::of(0..9u8), turn in 0..5usize,
    ) {
        let own = id.map(|id| format!("id={id}"));
        let full = own.as_ref().map_or(path.clone(), |own| format!("{path}?{own}"));
        let mut reference = None;
        for long in [false, true] {
            let mut pairs = wish.query(long);
            let at = turn % pairs.len();
            pairs.rotate_left(at);
            let options = pairs.join(",");
            pairs.extend(own.clone());
            let imgproxy = wish.imgproxy(long).join("/");
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &full);
            let cut = turn.min(encoded.len());
            for target in [
                format!("{path}?{}", pairs.join("&")),
                format!("/cdn-cgi/image/{options}{full}"),
                format!("/cdn-cgi/image/{options}/https://shop.example{full}"),
                format!("/x/{imgproxy}/plain/{}@{}", full.replace('?', "%3F"), wish.format),
                format!("/x/{imgproxy}/{}/{}.{}", &encoded[..cut], &encoded[cut..], wish.format),
            ] {
                let found = asked(&target);
                prop_assert_eq!(&found.source, &Source::Here(full.clone()), "{}", target);
                let key = found.plan.key();
                let reference = reference.get_or_insert(key.clone());
                prop_assert_eq!(&*reference, &key, "{}", target);
            }
        }
    }

    #[test]
    fn keys_are_equal_exactly_for_equal_plans(one in common(), other in common(), flag in any::<bool>()) {
        let plan = |wish: &Common| asked(&format!("/p?{}", wish.query(flag).join("&"))).plan;
        let (one, other) = (plan(&one), plan(&other));
        prop_assert_eq!(one == other, one.key() == other.key());
        prop_assert_eq!(&one, &one.clone().reduced());
    }

    #[test]
    fn any_text_is_answered(
        path in "(/(img|cdn-cgi/image|x)/)?[a-z:=,/.%@0-9é ]{0,40}", query in "([a-z]{0,7}=?[a-z0-9+%.]{0,6}&?){0,6}",
        text in ".{0,30}",
    ) {
        for settings in [settings(), signed()] {
            for path in [&path, &text] {
                let client = Client { accept: Some(&text), sec_ch_dpr: Some(&text), sec_ch_width: Some(&query), width: Some(&text) };
                let request = Request { host: &text, path, query: Some(&query), client, now: 0 };
                if let Ok(Some(asked)) = ask(&request, &settings) {
                    prop_assert!(asked.plan.key().len() < 200);
                }
                let _ = source_target(&request, &settings);
            }
        }
    }
}
