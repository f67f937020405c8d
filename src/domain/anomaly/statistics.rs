//! The figures that judgements rest on.

/// What the median absolute deviation of a normal distribution is multiplied with to get its standard deviation: 1 / Φ⁻¹(3/4).
const TO_STANDARD_DEVIATION: f64 = 1.482_602_218_505_602;

/// The median; 0 of nothing.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or_default();
    let lower = values.get(middle.saturating_sub(1)).copied().unwrap_or_default();
    if values.len().is_multiple_of(2) { f64::midpoint(lower, upper) } else { upper }
}

/// The standard deviation, worked out from the median absolute deviation: what is far off has no part in it.
pub(super) fn spread(values: Vec<f64>, median_of_them: f64) -> f64 {
    median(values.into_iter().map(|value| (value - median_of_them).abs()).collect()) * TO_STANDARD_DEVIATION
}

/// The upper end of Wilson's interval for a share, so many standard deviations wide on each side. Wilson, Journal of the
/// American Statistical Association 22 (1927), p. 209.
pub(super) fn wilson_upper(part: f64, whole: f64, width: f64) -> f64 {
    let (share, squared) = (part / whole, width * width);
    let middle = share + squared / (2.0 * whole);
    let deviation = (share * (1.0 - share) / whole + squared / (4.0 * whole * whole)).sqrt();
    (width.mul_add(deviation, middle) / (1.0 + squared / whole)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
    }

    #[test]
    fn medians_and_deviations_are_those_of_the_textbook() {
        close(median(vec![]), 0.0);
        close(median(vec![7.0]), 7.0);
        close(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        // The textbook's example of the median absolute deviation: it is 1, whatever the last value is.
        for last in [9.0, 9_000.0] {
            let values = vec![1.0, 1.0, 2.0, 2.0, 4.0, 6.0, last];
            close(median(values.clone()), 2.0);
            close(spread(values, 2.0), 1.482_602);
        }
        close(spread(vec![3.0; 9], 3.0), 0.0);
    }

    #[test]
    fn wilsons_interval_is_that_of_the_tables() {
        // Brown, Cai and DasGupta (2001): 0 and 2 of 10, 10 of 20 at 95 %.
        close(wilson_upper(0.0, 10.0, 1.959_964), 0.277_533);
        close(wilson_upper(2.0, 10.0, 1.959_964), 0.509_838);
        close(wilson_upper(10.0, 20.0, 1.959_964), 0.700_712);
        close(wilson_upper(10.0, 10.0, 1.959_964), 1.0);
    }
}
