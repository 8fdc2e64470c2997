//! Sizes as people read them.

/// With three figures at most and a unit, rounded up as du does.
pub(crate) fn human(bytes: u64) -> String {
    let mut unit = 0;
    let mut divisor = 1_u64;
    while unit < UNITS.len() && bytes.div_ceil(divisor) >= 1024 {
        divisor = divisor.saturating_mul(1024);
        unit += 1;
    }
    if unit == 0 {
        return bytes.to_string();
    }
    let letter = UNITS[unit - 1];
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(divisor));
    if tenths < 100 {
        format!("{}.{}{letter}", tenths / 10, tenths % 10)
    } else {
        format!("{}{letter}", tenths.div_ceil(10))
    }
}

const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
