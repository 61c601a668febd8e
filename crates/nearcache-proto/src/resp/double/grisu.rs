//! Grisu2, which finds few decimal digits that read back as the same double.
//!
//! It misses the fewest or the closest for one double in a thousand, and servers show what it finds. So this must err
//! where theirs (fpconv) errs: the same 64-bit arithmetic, the same powers of ten, the same roundings. That is why no
//! printer of shortest digits will do, nor another Grisu2.

/// Digits of a finite `value` that is not 0, sign aside, as `(number, scale)`: the number times ten to the scale.
pub(super) fn grisu2(value: f64) -> (u64, i32) {
    let (mantissa, exponent) = parts(value);
    // The value and the middles between it and its neighbours, with one binary exponent, the topmost bit being set.
    let shift = (2 * mantissa + 1).leading_zeros() as i32;
    let exponent = exponent - 1 - shift;
    // The neighbour below a power of two is nearer.
    let near = if mantissa == HIDDEN_BIT { 2 } else { 1 };
    let below = ((mantissa << near) - 1) << (shift + 1 - near);
    let above = (2 * mantissa + 1) << shift;

    let (power, power_exponent, power_scale) = cached_power(exponent);
    let exact = times((2 * mantissa) << shift, power);
    // One unit each way makes up for the roundings of the multiplication.
    let above = times(above, power) - 1;
    let below = times(below, power) + 1;
    // Binary digits after the point: 32 to 60.
    let point = -(exponent + power_exponent + 64);
    let (number, scale) = cut(above, above - below, above - exact, point as u32);
    (number, scale - power_scale)
}

/// Shortens `above` as far as it stays within `width` below, then goes on down to what lies `target` below.
///
/// All three have `point` binary digits after the point.
fn cut(above: u64, width: u64, target: u64, point: u32) -> (u64, i32) {
    let [above, width, target] = [above, width, target].map(u128::from);
    let one = 1_u128 << point;
    for scale in (0..10).rev() {
        let unit = 10_u128.pow(scale) << point;
        if above % unit <= width {
            let number = nearest(above, width, target, unit);
            return (number, scale as i32);
        }
    }
    // Ends, and within 128 bits: the width is at least 512, which 17 more digits make more than any `one`.
    let mut scale = 0;
    let mut ten = 1;
    loop {
        scale -= 1;
        ten *= 10;
        if above * ten % one < width * ten {
            let number = nearest(above * ten, width * ten, target * ten, one);
            return (number, scale);
        }
    }
}

/// Whole `unit`s in `above`, fewer while that comes closer to `target` below it and stays within `width`.
fn nearest(above: u128, width: u128, target: u128, unit: u128) -> u64 {
    let mut number = (above / unit) as u64;
    let mut rest = above % unit;
    while rest < target && width - rest >= unit {
        let next = rest + unit;
        if next >= target && target - rest <= next - target {
            break;
        }
        number -= 1;
        rest = next;
    }
    number
}

const HIDDEN_BIT: u64 = 1 << 52;

/// `(mantissa, exponent)`: the absolute value is the mantissa times two to the exponent.
fn parts(value: f64) -> (u64, i32) {
    let fraction = value.to_bits() & (HIDDEN_BIT - 1);
    match (value.to_bits() >> 52 & 0x7ff) as i32 {
        0 => (fraction, -1074),
        biased => (fraction | HIDDEN_BIT, biased - 1075),
    }
}

/// The upper half of the product, rounded.
fn times(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b) + (1 << 63)) >> 64) as u64
}

/// `(number, binary exponent, decimal exponent)` of the power of ten for a number with binary exponent `exponent`.
///
/// The smallest that leaves at most 60 binary digits after the point.
fn cached_power(exponent: i32) -> (u64, i32, i32) {
    let needed = (f64::from(-61 - exponent) * std::f64::consts::LOG10_2).ceil() as i32;
    let index = (needed - FIRST_POWER + STEP - 1) / STEP;
    let scale = FIRST_POWER + index * STEP;
    (POWERS[index as usize], binary_exponent(scale), scale)
}

/// Of the power of ten `scale` as a 64-bit number with its topmost bit set.
fn binary_exponent(scale: i32) -> i32 {
    // The rounded down logarithm to base two, exact far beyond the powers here.
    ((scale * 1_741_647) >> 19) - 63
}

const FIRST_POWER: i32 = -348;
const STEP: i32 = 8;

/// Ten to the -348, -340, ..., 340: the topmost 64 bits, rounded.
#[rustfmt::skip]
const POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d, 0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c, 0x8dd01fad907ffc3c, 0xd3515c2831559a83, 0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57, 0xc21094364dfb5637,
    0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996,
    0xdbac6c247d62a584, 0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b, 0xc9bcff6034c13053, 0x964e858c91ba2655, 0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf, 0x8a08f0f8bf0f156b,
    0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c,
    0x9c40000000000000, 0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984,
    0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70, 0xd5d238a4abe98068, 0x9f4f2726179a2245,
    0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db, 0xc45d1df942711d9a,
    0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3, 0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece,
    0x88fcf317f22241e2, 0xcc20ce9bd35c78a5, 0x98165af37b2153df, 0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410, 0x8bab8eefb6409c1a,
    0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841,
    0x9e19db92b4e31ba9, 0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// From one power to the next is a factor of ten to the eighth: a mistyped digit fails both its neighbours.
    #[test]
    fn powers_follow_each_other() {
        for (index, pair) in POWERS.windows(2).enumerate() {
            let scale = FIRST_POWER + index as i32 * STEP;
            let shift = binary_exponent(scale + STEP) - binary_exponent(scale);
            let next = (u128::from(pair[0]) * 100_000_000) >> shift;
            assert!(next.abs_diff(u128::from(pair[1])) <= 3, "after {scale}");
        }
        let one = (-FIRST_POWER / STEP) as usize;
        assert_eq!(FIRST_POWER + one as i32 * STEP, -4);
        assert_eq!(POWERS[one + 1], 10_000 << 50);
    }

    #[test]
    fn every_exponent_has_its_power() {
        for bits in (1..0x7ff).map(|biased| biased << 52).chain([1, 2, 3]) {
            let value = f64::from_bits(bits);
            let (number, scale) = grisu2(value);
            let text = format!("{number}e{scale}");
            assert_eq!(text.parse(), Ok(value), "{text}");
            assert!(number < 100_000_000_000_000_000, "{text}");
        }
    }
}
