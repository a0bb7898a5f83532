//! The cases: what Python makes of the scene (480 × 360), and the plan that should give the same.

use super::{Case, plan};
use crate::plan::{Colour, Fit, Gravity, Output, Plan, Turn};

const AUTO: Output = Output::Auto {
    webp: false,
    avif: false,
};

pub fn all() -> Vec<Case> {
    [
        sources(),
        outputs(),
        orientations(),
        turns(),
        fits(),
        gravities(),
        alpha(),
        effects(),
        profiles(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case(name: impl Into<String>, source: &'static str, plan: Plan, reference: &str) -> Case {
    Case {
        name: name.into(),
        source,
        reference: reference.to_owned(),
        plan,
        similar: 0.95,
    }
}

/// Each kind of source, to a third of its size.
fn sources() -> Vec<Case> {
    let kinds = [
        ("jpeg-420", "jpeg(scene)"),
        ("jpeg-422", "jpeg(scene, subsampling=1)"),
        ("jpeg-444", "jpeg(scene, subsampling=0)"),
        ("jpeg-progressive", "jpeg(scene, progressive=True)"),
        ("jpeg-optimised", "jpeg(scene, optimize=True)"),
        ("jpeg-grey", "jpeg(scene.convert('L'))"),
        ("jpeg-cmyk", "jpeg(scene.convert('CMYK'))"),
        ("jpeg-odd", "jpeg(scene.crop((0, 0, 477, 359)))"),
        ("png", "png(scene)"),
        ("png-grey", "png(scene.convert('L'))"),
        ("png-palette", "png(palette(scene))"),
        ("png-16-bits", "png(sixteen_bits(scene))"),
        ("png-one-bit", "png(scene.convert('1', dither=0))"),
        ("webp-lossy", "saved(scene, 'WEBP', quality=95)"),
        ("webp-lossless", "saved(scene, 'WEBP', lossless=True)"),
        ("webp-animated", "animated('WEBP', quality=95)"),
        ("gif", "saved(palette(scene), 'GIF')"),
        (
            "gif-interlaced",
            "saved(palette(scene), 'GIF', interlace=1)",
        ),
        ("gif-animated", "animated('GIF')"),
        ("bmp", "saved(scene, 'BMP')"),
        ("tiff", "saved(scene, 'TIFF')"),
        ("tiff-lzw", "saved(scene, 'TIFF', compression='tiff_lzw')"),
    ];
    kinds
        .map(|(name, source)| {
            let made = Plan {
                fit: Fit::Squeeze,
                ..plan(160, 120, AUTO)
            };
            case(name, source, made, "to(160, 120)")
        })
        .into()
}

/// Each output, reduced and not.
fn outputs() -> Vec<Case> {
    let outputs = [
        ("jpeg", Output::Jpeg),
        ("webp", Output::Webp),
        ("webp-lossless", Output::WebpLossless),
        ("png", Output::Png),
        ("avif", Output::Avif),
    ];
    let sizes = [(480, 360), (200, 150), (75, 56)];
    let mut cases = Vec::new();
    for (name, output) in outputs {
        for (width, height) in sizes {
            let reference = format!("to({width}, {height})");
            let made = plan(width, height, output);
            let name = format!("to-{name}-{width}");
            cases.push(Case {
                similar: 0.93,
                ..case(name, "jpeg(scene)", made, &reference)
            });
        }
    }
    cases
}

fn orientations() -> Vec<Case> {
    let source = |orientation: u8| match orientation {
        1 => "turned(1)",
        2 => "turned(2)",
        3 => "turned(3)",
        4 => "turned(4)",
        5 => "turned(5)",
        6 => "turned(6)",
        7 => "turned(7)",
        _ => "turned(8)",
    };
    let upright = |orientation: u8| {
        let (width, height) = if orientation < 5 {
            (160, 120)
        } else {
            (120, 160)
        };
        let reference = format!("to({width}, {height})");
        let name = format!("orientation-{orientation}");
        case(
            name,
            source(orientation),
            plan(width, height, AUTO),
            &reference,
        )
    };
    (1..=8).map(upright).collect()
}

/// Cut from a turned picture: what is cut depends on the turn.
fn turns() -> Vec<Case> {
    let turns = [
        ("mirrored", true, 0, "ImageOps.mirror"),
        (
            "quarter",
            false,
            1,
            "lambda im: im.rotate(-90, expand=True)",
        ),
        ("half", false, 2, "lambda im: im.rotate(180)"),
        (
            "three-quarters",
            false,
            3,
            "lambda im: im.rotate(90, expand=True)",
        ),
    ];
    let turned = |(name, mirrored, quarters, reference): (&str, bool, u8, &str)| {
        let made = Plan {
            turn: Turn { mirrored, quarters },
            fit: Fit::Cover,
            gravity: Gravity::Point { x: 200, y: 100 },
            ..plan(120, 140, AUTO)
        };
        let reference = format!("then({reference}, filling(120, 140, 0.2, 0.1))");
        case(format!("turn-{name}"), "turned(6)", made, &reference)
    };
    turns.map(turned).into()
}

fn fits() -> Vec<Case> {
    let of = |fit, width, height| Plan {
        fit,
        ..plan(width, height, AUTO)
    };
    let white = |plan: Plan| Plan {
        background: Some(colour(255, 255, 255, 255)),
        ..plan
    };
    vec![
        case(
            "scale-down",
            "jpeg(scene)",
            of(Fit::ScaleDown, 200, 100),
            "to(133, 100)",
        ),
        case(
            "scale-down-no-more",
            "jpeg(scene)",
            of(Fit::ScaleDown, 999, 999),
            "to(480, 360)",
        ),
        case(
            "contain-larger",
            "jpeg(scene)",
            of(Fit::Contain, 720, 900),
            "to(720, 540)",
        ),
        case(
            "cover-wide",
            "jpeg(scene)",
            of(Fit::Cover, 200, 60),
            "filling(200, 60)",
        ),
        case(
            "cover-high",
            "png(scene)",
            of(Fit::Cover, 77, 143),
            "filling(77, 143)",
        ),
        case(
            "cover-larger",
            "jpeg(scene)",
            of(Fit::Cover, 500, 500),
            "filling(500, 500)",
        ),
        case(
            "crop",
            "jpeg(scene)",
            of(Fit::Crop, 150, 150),
            "filling(150, 150)",
        ),
        case(
            "crop-no-larger",
            "jpeg(scene)",
            of(Fit::Crop, 600, 600),
            "filling(360, 360)",
        ),
        case(
            "pad-high",
            "jpeg(scene)",
            white(of(Fit::Pad, 200, 200)),
            "padded((200, 200), (200, 150), 'white')",
        ),
        case(
            "pad-jpeg",
            "jpeg(scene)",
            Plan {
                output: Output::Jpeg,
                ..of(Fit::Pad, 301, 151)
            },
            "padded((301, 151), (201, 151), 'white')",
        ),
        case(
            "pad-clear",
            "jpeg(scene)",
            Plan {
                output: Output::Webp,
                ..of(Fit::Pad, 300, 150)
            },
            "padded((300, 150), (200, 150), (255, 255, 255, 0))",
        ),
        case(
            "squeeze",
            "jpeg(scene)",
            of(Fit::Squeeze, 200, 90),
            "to(200, 90)",
        ),
    ]
}

fn gravities() -> Vec<Case> {
    let points = [(0, 0), (1000, 1000), (300, 500), (800, 0)];
    let mut cases: Vec<Case> = points
        .map(|(x, y)| {
            let made = Plan {
                fit: Fit::Cover,
                gravity: Gravity::Point { x, y },
                ..plan(100, 140, AUTO)
            };
            let at = |part: u16| f64::from(part) / 1000.0;
            let reference = format!("filling(100, 140, {}, {})", at(x), at(y));
            case(format!("gravity-{x}-{y}"), "jpeg(scene)", made, &reference)
        })
        .into();
    cases.push(case(
        "pad-at-a-corner",
        "png(scene)",
        Plan {
            fit: Fit::Pad,
            gravity: Gravity::Point { x: 0, y: 0 },
            background: Some(colour(20, 90, 30, 255)),
            ..plan(200, 200, Output::Png)
        },
        "padded((200, 200), (200, 150), (20, 90, 30), 0, 0)",
    ));
    cases
}

fn alpha() -> Vec<Case> {
    let keeping = |name, source, output| case(name, source, plan(160, 120, output), "to(160, 120)");
    let laid = |name: &str, ground, output, reference: &str| {
        let made = Plan {
            background: ground,
            ..plan(160, 120, output)
        };
        case(name, "png(fading(scene))", made, reference)
    };
    vec![
        keeping("alpha-png", "png(fading(scene))", Output::Png),
        keeping("alpha-auto", "png(fading(scene))", AUTO),
        keeping("alpha-webp", "png(fading(scene))", Output::Webp),
        keeping(
            "alpha-webp-lossless",
            "png(fading(scene))",
            Output::WebpLossless,
        ),
        keeping("alpha-avif", "png(fading(scene))", Output::Avif),
        keeping(
            "alpha-of-webp",
            "saved(fading(scene), 'WEBP', quality=95)",
            Output::Png,
        ),
        keeping(
            "alpha-of-grey",
            "png(fading(scene.convert('L')))",
            Output::Png,
        ),
        laid(
            "alpha-jpeg",
            None,
            Output::Jpeg,
            "laid_on('white', (160, 120))",
        ),
        laid(
            "alpha-on-blue",
            Some(colour(0, 0, 200, 255)),
            Output::Webp,
            "laid_on((0, 0, 200, 255), (160, 120))",
        ),
        laid(
            "alpha-on-half",
            Some(colour(0, 200, 0, 128)),
            Output::Png,
            "laid_on((0, 200, 0, 128), (160, 120))",
        ),
    ]
}

fn effects() -> Vec<Case> {
    let of = |name: &str, plan: Plan, reference: &str| {
        let reference = format!("then(to(160, 120), {reference})");
        case(name, "jpeg(scene)", plan, &reference)
    };
    let base = |output| plan(160, 120, output);
    let blur = |tenths| Plan {
        blur: Some(tenths),
        ..base(AUTO)
    };
    vec![
        of(
            "grey",
            Plan {
                grey: true,
                ..base(AUTO)
            },
            "grey",
        ),
        of(
            "grey-webp",
            Plan {
                grey: true,
                ..base(Output::Webp)
            },
            "grey",
        ),
        of("blur-slight", blur(8), "blurred(0.8)"),
        Case {
            similar: 0.97,
            ..of("blur", blur(25), "blurred(2.5)")
        },
        of(
            "sharpen",
            Plan {
                sharpen: Some(80),
                ..base(AUTO)
            },
            "sharpened(80)",
        ),
        of(
            "watermark",
            Plan {
                watermark: Some("red".into()),
                ..base(AUTO)
            },
            "marked(20, (140, 100))",
        ),
        case(
            "trim",
            "png(framed('white'))",
            Plan {
                trim: Some(10),
                ..base(AUTO)
            },
            "then(lambda im: im.crop((30, 20, 510, 380)), to(160, 120))",
        ),
        case(
            "trim-jpeg",
            "jpeg(framed('black'), subsampling=0)",
            Plan {
                trim: Some(40),
                fit: Fit::Squeeze,
                ..base(AUTO)
            },
            "then(lambda im: im.crop((30, 20, 510, 380)), to(160, 120))",
        ),
    ]
}

/// Display P3 into sRGB, by Little CMS there.
fn profiles() -> Vec<Case> {
    let outputs = [
        ("jpeg", "jpeg(scene, icc_profile=wide)", Output::Jpeg),
        ("webp", "jpeg(scene, icc_profile=wide)", Output::Webp),
        ("png", "png(scene, icc_profile=wide)", Output::Png),
        ("avif", "png(scene, icc_profile=wide)", Output::Avif),
        (
            "progressive",
            "jpeg(scene, progressive=True, icc_profile=wide)",
            Output::Png,
        ),
    ];
    outputs
        .map(|(name, source, output)| {
            let made = plan(160, 120, output);
            case(
                format!("profile-{name}"),
                source,
                made,
                "then(to(160, 120), in_srgb)",
            )
        })
        .into()
}

fn colour(red: u8, green: u8, blue: u8, alpha: u8) -> Colour {
    Colour {
        red,
        green,
        blue,
        alpha,
    }
}
