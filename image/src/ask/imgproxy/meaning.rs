//! The names of imgproxy's options, long and short.

/// Whether imgproxy has an option of this name, known here or not.
pub fn is_option(name: &str) -> bool {
    const OTHERS: [&str; 62] = [
        "preset",
        "pr",
        "resizing_algorithm",
        "ra",
        "min-width",
        "mw",
        "min-height",
        "mh",
        "zoom",
        "z",
        "extend_aspect_ratio",
        "extend_ar",
        "exar",
        "objects_position",
        "obj_pos",
        "op",
        "crop",
        "c",
        "crop_aspect_ratio",
        "crop_ar",
        "car",
        "padding",
        "pd",
        "adjust",
        "a",
        "brightness",
        "br",
        "contrast",
        "co",
        "saturation",
        "sa",
        "duotone",
        "dt",
        "pixelate",
        "pix",
        "unsharp_masking",
        "ush",
        "colorize",
        "col",
        "gradient",
        "gr",
        "watermark_url",
        "wmu",
        "watermark_text",
        "wmt",
        "watermark_size",
        "wms",
        "style",
        "st",
        "dpi",
        "autoquality",
        "aq",
        "max_bytes",
        "mb",
        "page",
        "pg",
        "raw",
        "max_src_resolution",
        "msr",
        "hashsum",
        "hs",
        "fallback_image_url",
    ];
    Meaning::of(name).is_some() || OTHERS.contains(&name)
}

/// What an option is about.
#[derive(Clone, Copy)]
pub enum Meaning {
    Resize,
    Size,
    Kind,
    Width,
    Height,
    Density,
    Enlarge,
    Extend,
    Gravity,
    Trim,
    Rotate,
    Background,
    BackgroundAlpha,
    Blur,
    Sharpen,
    Grey,
    Watermark,
    Copyright,
    Quality,
    Format,
    Still,
    Expires,
    /// Done anyway, or of no effect on the picture.
    Nothing,
}

impl Meaning {
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "resize" | "rs" => Self::Resize,
            "size" | "s" => Self::Size,
            "resizing_type" | "rt" => Self::Kind,
            "width" | "w" => Self::Width,
            "height" | "h" => Self::Height,
            "dpr" => Self::Density,
            "enlarge" | "el" => Self::Enlarge,
            "extend" | "ex" => Self::Extend,
            "gravity" | "g" => Self::Gravity,
            "trim" | "t" => Self::Trim,
            "rotate" | "rot" => Self::Rotate,
            "background" | "bg" => Self::Background,
            "background_alpha" | "bga" => Self::BackgroundAlpha,
            "blur" | "bl" => Self::Blur,
            "sharpen" | "sh" => Self::Sharpen,
            "monochrome" | "mc" => Self::Grey,
            "watermark" | "wm" => Self::Watermark,
            "keep_copyright" | "kcr" => Self::Copyright,
            "quality" | "q" => Self::Quality,
            "format" | "f" | "ext" => Self::Format,
            "disable_animation" | "da" => Self::Still,
            "expires" | "exp" => Self::Expires,
            "auto_rotate"
            | "ar"
            | "strip_metadata"
            | "sm"
            | "strip_color_profile"
            | "scp"
            | "enforce_thumbnail"
            | "eth"
            | "format_quality"
            | "fq"
            | "cachebuster"
            | "cb"
            | "filename"
            | "fn"
            | "return_attachment"
            | "att"
            | "skip_processing"
            | "skp" => Self::Nothing,
            _ => return None,
        })
    }
}
