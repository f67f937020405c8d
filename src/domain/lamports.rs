//! Money: whole lamports, never floating point until it is shown.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, Mul},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Lamports in one SOL, fixed by the Solana protocol.
pub const LAMPORTS_PER_SOL: u64 = 1_000_000_000;
/// Decimal places of one SOL.
const SOL_DECIMALS: usize = 9;

/// An amount of lamports. Arithmetic saturates: no sum of real balances comes near `u64::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Lamports(pub u64);

impl Lamports {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// What is left after taking `other` away, never below zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Split into so many parts, to the lamport; the first bears what is left over.
    pub fn split(self, parts: usize) -> impl Iterator<Item = Self> {
        let count = (parts as u64).max(1);
        let each = Self(self.0.checked_div(count).unwrap_or_default());
        let first = self.saturating_sub(each * count.saturating_sub(1));
        std::iter::once(first).chain(std::iter::repeat(each)).take(parts)
    }

    /// The amount in SOL, for the few places where the API shows SOL as a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown to people; exact amounts travel as lamports")]
    pub fn as_sol(self) -> f64 {
        self.0 as f64 / LAMPORTS_PER_SOL as f64
    }

    /// Reads an amount written in SOL, such as `1.25`.
    ///
    /// # Errors
    /// A sentence saying what is wrong with the text.
    pub fn parse_sol(text: &str) -> Result<Self, &'static str> {
        let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        if (whole.is_empty() && fraction.is_empty())
            || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit())
        {
            return Err("is not an amount of SOL such as 0.5");
        }
        if fraction.len() > SOL_DECIMALS {
            return Err("has more than nine decimal places, but one lamport is 0.000000001 SOL");
        }
        let digits = format!("{whole}{fraction:0<SOL_DECIMALS$}");
        digits.parse().map(Self).map_err(|_overflow| "is more SOL than there is")
    }
}

impl Add for Lamports {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Lamports {
    type Output = Self;
    fn mul(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl Sum for Lamports {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Lamports {
    /// In SOL without trailing zeros: `1.5 SOL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(LAMPORTS_PER_SOL).unwrap_or_default();
        let fraction = self.0.checked_rem(LAMPORTS_PER_SOL).unwrap_or_default();
        let digits = format!("{fraction:09}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole} SOL"),
            shown => write!(f, "{whole}.{shown} SOL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sol_is_read_and_shown_exactly() {
        for (text, lamports) in [("1.5", 1_500_000_000), ("0.000000001", 1), (".5", 500_000_000), ("7", 7_000_000_000)]
        {
            assert_eq!(Lamports::parse_sol(text), Ok(Lamports(lamports)), "{text}");
        }
        assert_eq!(Lamports(1_970_200_001).to_string(), "1.970200001 SOL");
        assert_eq!(Lamports(2_000_000_000).to_string(), "2 SOL");
        for wrong in ["", ".", "-1", "1e3", "0.0000000001", "99999999999999"] {
            assert!(Lamports::parse_sol(wrong).is_err(), "{wrong}");
        }
    }
}
