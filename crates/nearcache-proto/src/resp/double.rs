//! How a server writes a double as text, which RESP2 shows and RESP3 hides: the same digits, from the number alone.
//!
//! Must never be prettier than the server: a shorter or closer text is a wrong one.

mod grisu;

use grisu::grisu2;

/// The way one server writes doubles as text.
///
/// Servers agree on the number and differ in the text: Redis before 7.2 writes 3.1400000000000001 where all others write
/// 3.14, and coordinates have a form of their own until Redis 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubleText {
    score: Form,
    coordinate: Form,
}

/// One way to write a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `%.17g` of C.
    General17,
    /// `%.17Lf` of C without the zeros at the end.
    Fixed17,
    /// As few digits as Grisu2 finds.
    Short,
}

impl DoubleText {
    /// The way of the server whose reply to HELLO has these `server` and `version` fields.
    ///
    /// Takes a product or version it does not know for a current Redis.
    pub fn of(server: &str, version: &str) -> Self {
        let modern = Self {
            score: Form::Short,
            coordinate: Form::Short,
        };
        match (server, major_minor(version)) {
            ("valkey", _) => Self {
                coordinate: Form::Fixed17,
                ..modern
            },
            // Release candidates count from the release before: 7.2's are 7.1.240 and on, 8.0's milestones 7.9.224 and on.
            ("redis", Some(version)) if version < (7, 1) => Self {
                score: Form::General17,
                coordinate: Form::Fixed17,
            },
            ("redis", Some(version)) if version < (7, 9) => Self {
                coordinate: Form::Fixed17,
                ..modern
            },
            _ => modern,
        }
    }

    /// The text of a score, and of every double that is no coordinate.
    pub fn score(self, value: f64) -> String {
        self.score.write(value)
    }

    /// The text of a longitude or latitude, as of GEOPOS or of GEOSEARCH with WITHCOORD.
    pub fn coordinate(self, value: f64) -> String {
        self.coordinate.write(value)
    }
}

impl Default for DoubleText {
    /// That of a current Redis.
    fn default() -> Self {
        Self::of("", "")
    }
}

impl Form {
    fn write(self, value: f64) -> String {
        if value.is_infinite() {
            return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
        }
        if value.is_nan() {
            // printf shows the sign of what is not a number.
            let signed = self != Self::Short && value.is_sign_negative();
            return if signed { "-nan" } else { "nan" }.to_owned();
        }
        match self {
            Self::General17 => general17(value),
            Self::Fixed17 => match trimmed(&format!("{value:.17}")) {
                "-0" => "0".to_owned(),
                text => text.to_owned(),
            },
            Self::Short => short(value),
        }
    }
}

fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn trimmed(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

fn general17(value: f64) -> String {
    let text = format!("{value:.16e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.parse().unwrap_or(0) {
        exponent @ -4..=16_i32 => {
            let decimals = exponent.abs_diff(16) as usize;
            trimmed(&format!("{value:.decimals$}")).to_owned()
        }
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
        }
    }
}

fn short(value: f64) -> String {
    // Up to here, and no further, the server takes the way of its integers.
    const INTEGER_MAX: f64 = (1_i64 << 62) as f64;
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.abs() <= INTEGER_MAX && value.trunc() == value {
        // Not as a double, which would end in zeros where its shortest digits end.
        return (value as i64).to_string();
    }
    let (number, scale) = grisu2(value);
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", laid_out(&number.to_string(), scale))
}

/// Writes `digits` times ten to the `scale`. Which numbers get an exponent is the server's taste: it looks at the last
/// digit as well as at the first.
fn laid_out(digits: &str, scale: i32) -> String {
    let zeros = scale.unsigned_abs() as usize;
    let exponent = scale + digits.len() as i32 - 1;
    if (0..8).contains(&scale) {
        return format!("{digits}{:0<zeros$}", "");
    }
    if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let padded = format!("{digits:0>width$}", width = zeros + 1);
        let (whole, fraction) = padded.split_at(padded.len() - zeros);
        return format!("{whole}.{fraction}");
    }
    match digits.split_at(1) {
        (first, "") => format!("{first}e{exponent:+}"),
        (first, rest) => format!("{first}.{rest}e{exponent:+}"),
    }
}

#[cfg(test)]
mod tests;
