//! What may be spent, and what is offered to land sooner.

use super::{
    Network,
    parse::{number, sol, sol_limit},
    sources::Values,
};
use crate::{domain::spending::SpendingLimits, estimate::PriorityFeeSettings};

/// On mainnet, where blocks are full now and then, three blocks of four must not ask for more; on others offers buy nothing.
const MAINNET_PERCENTILE: u8 = 75;
/// Most that may be offered for a compute unit, in micro-lamports: a thousandth of a SOL for a ticket is certainly a mistake.
const MOST_OFFERED: u64 = 5_000_000;

pub(super) fn spending_limits(values: &mut Values) -> SpendingLimits {
    SpendingLimits {
        keep_back: values.parse("MIN_SOL_BALANCE", sol).unwrap_or_default(),
        per_transaction: values.optional("TX_LIMIT_SOL", sol_limit).flatten(),
        per_hour: values.optional("HOURLY_LIMIT_SOL", sol_limit).flatten(),
        per_day: values.optional("DAILY_LIMIT_SOL", sol_limit).flatten(),
    }
}

pub(super) fn priority_fees(values: &mut Values, network: Network) -> Option<PriorityFeeSettings> {
    let percentile = values.optional("PRIORITY_FEE_PERCENTILE", |text| number::<u8>(text, 0, 100));
    let percentile = percentile.or_else(|| (network == Network::MainnetBeta).then_some(MAINNET_PERCENTILE));
    let floor = values.parse("PRIORITY_FEE_FLOOR", |text| number::<u64>(text, 0, MOST_OFFERED))?;
    let cap = values.parse("PRIORITY_FEE_CAP", |text| number::<u64>(text, 0, MOST_OFFERED))?;
    if floor > cap {
        values.fault("PRIORITY_FEE_FLOOR", "is above PRIORITY_FEE_CAP".into());
    }
    Some(PriorityFeeSettings { percentile: percentile.filter(|percentile| *percentile > 0), floor, cap })
}
