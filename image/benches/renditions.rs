//! CPU time and bytes of renditions, on one thread: `cargo bench -p lakh-image -- [FILE]… [QUERY]…`.
//!
//! Arguments that name a file are sources, the others queries; without any, a drawing of twelve
//! megapixels and what the site asks for. Times are the median of several runs, interleaved.

use lakh_image::{ImageSettings, Limits, Overlays, Plan, transform, transform_all};
use std::path::Path;

const ROUNDS: usize = 7;

const QUERIES: [&str; 9] = [
    "w=1920&q=85&f=jpeg",
    "w=800&q=80&f=jpeg",
    "w=200&q=75&f=jpeg",
    "w=800&q=80&f=webp",
    "w=800&q=80&f=avif",
    "w=800&q=auto&f=jpeg",
    "w=800&f=png",
    "w=400&h=400&fit=cover&g=auto&f=jpeg",
    "info=true",
];

/// What one page of a gallery asks for together.
const TOGETHER: [&str; 3] = [
    "w=1920&q=85&f=jpeg",
    "w=800&q=80&f=jpeg",
    "w=200&q=75&f=jpeg",
];

fn main() {
    let arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let (files, queries): (Vec<_>, Vec<_>) = arguments.partition(|a| Path::new(a).exists());
    let sources = match files.is_empty() {
        true => vec![("drawing".to_owned(), drawing())],
        false => files
            .into_iter()
            .map(|f| (f.clone(), std::fs::read(f).expect("a file")))
            .collect(),
    };
    let queries = match queries.is_empty() {
        true => QUERIES.map(str::to_owned).into(),
        false => queries,
    };
    for (name, source) in &sources {
        println!("{name}: {} kB", source.len() / 1000);
        measure(source, &queries);
    }
}

fn measure(source: &[u8], queries: &[String]) {
    let mut times = vec![Vec::new(); queries.len() + 1];
    let mut made = vec![String::new(); queries.len() + 1];
    for _ in 0..ROUNDS {
        for (at, query) in queries.iter().enumerate() {
            let plan = plan(query);
            let started = cpu();
            let rendition = transform(source, &plan, &limits(), &Overlays::new());
            times[at].push(cpu() - started);
            made[at] = match rendition {
                Ok(r) => format!(
                    "{:8.1} kB  {}×{}",
                    r.bytes.len() as f64 / 1000.0,
                    r.width,
                    r.height
                ),
                Err(error) => error.to_string(),
            };
        }
        let plans = TOGETHER.map(plan);
        let started = cpu();
        transform_all(source, &plans, &limits(), &Overlays::new());
        times[queries.len()].push(cpu() - started);
    }
    let names = queries
        .iter()
        .map(String::as_str)
        .chain(["those three of one decoding"]);
    for ((name, times), made) in names.zip(&mut times).zip(made) {
        times.sort_by(f64::total_cmp);
        println!("  {name:40} {:8.1} ms {made}", times[times.len() / 2]);
    }
}

fn plan(query: impl AsRef<str>) -> Plan {
    let settings = ImageSettings {
        avif: true,
        ..ImageSettings::default()
    };
    let plan = Plan::from_request(Some(query.as_ref()), None, &settings);
    plan.expect("a good query").expect("a plan")
}

fn limits() -> Limits {
    Limits::from(&ImageSettings::default())
}

/// Milliseconds that this thread has run (proc(5), schedstat).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts them");
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e6
}

/// Twelve megapixels, as a camera writes them.
fn drawing() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(4000, 3000, |x, y| {
        let wave = |a: f32, b: f32| (x as f32 / a).sin() * (y as f32 / b).cos();
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)) >> 28;
        let level =
            |phase: f32| 128.0 + 60.0 * wave(90.0 + phase, 70.0) + 30.0 * wave(9.0, 7.0 + phase);
        image::Rgb([0.0, 11.0, 23.0].map(|phase| level(phase) as u8 + grain as u8))
    });
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    picture.write_with_encoder(encoder).expect("a JPEG");
    bytes
}
