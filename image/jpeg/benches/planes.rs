//! CPU time of this decoder and of libjpeg-turbo to Y, Cb and Cr planes, turn by turn, at every scale:
//! `cargo bench -p lakh-jpeg -- JPEG…`. Prints medians in ms, and their ratio.

use lakh_jpeg::{Decoder, Scale};

#[path = "../tests/pictures/libjpeg_turbo.rs"]
mod libjpeg_turbo;

const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    println!("| picture | scale | turbo ms | own ms | ratio |\n|---|---|---|---|---|");
    for file in files {
        let jpeg = std::fs::read(&file)?;
        for eighths in 1..=8 {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                theirs.push(milliseconds(|| {
                    drop(libjpeg_turbo::planes(&jpeg, eighths).expect("turbo decodes"))
                }));
                ours.push(milliseconds(|| {
                    drop(own(&jpeg, eighths).expect("own decodes"))
                }));
            }
            let (theirs, ours) = (median(theirs), median(ours));
            println!(
                "| {file} | {eighths}/8 | {theirs:.1} | {ours:.1} | {:.3} |",
                ours / theirs
            );
        }
    }
    Ok(())
}

fn own(jpeg: &[u8], eighths: u8) -> Result<lakh_jpeg::Planes, lakh_jpeg::Error> {
    let scale = Scale::eighths(eighths).expect("one of eight");
    Decoder::open(jpeg)?.decode(scale, 100_000_000)
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = cpu_seconds();
    work();
    (cpu_seconds() - start) * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds that this thread has run (proc(5), schedstat), so that what else runs counts less.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts them");
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}
